#include "proxy/daemon/agents.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "base/text.h"
#include "proxy/daemon/event_line.h"
#include "proxy/daemon/exec_line.h"

namespace sluice::proxy {
namespace {

// Bytes of what a peer says was seen.
constexpr std::size_t longest_sight = 256;
// As most_refused of handover_requests.cc, for programs that one report says are left out.
constexpr std::uint64_t most_left_out = 1'000'000'000;

Failure taken(const std::string& name, std::string hint) {
  return fail(Errc::unavailable, fmt::format("the agent name '{}' is taken", text::printable(name)),
              std::move(hint));
}

}  // namespace

void Agents::set_policy(std::shared_ptr<const allowlists::Policy> policy) {
  policy_ = std::move(policy);
  shared_.registry.set_policy_rules(policy_->rule_count());
  for (const auto& [name, registration] : live_) registration->agent->set_policy(policy_);
  of_listeners_.set_policy(policy_);
  // After the last agent has it: who asks during a review asks the new one.
  for (const auto& worker : workers_) {
    asio::post(worker->io, [&worker = *worker] { worker.review_sessions(); });
  }
}

Result<SocketSet> Agents::verify(const Application& application) const {
  if (!allowlists::is_agent_name(application.name)) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is no agent name", text::printable(application.name)),
                "letters, digits, '.', '_' and '-', at most 63");
  }
  if (live_.contains(application.name)) return taken(application.name, "choose another name");
  auto set = check_network(application.sockets);
  if (!set) return set;
  if (const auto other = by_cookie_.find(set->netns_cookie); other != by_cookie_.end()) {
    return fail(Errc::not_permitted, fmt::format("the network namespace is that of agent '{}'",
                                                 other->second->agent->name));
  }
  return set;
}

Result<std::shared_ptr<Registration>> Agents::add(Application application) {
  auto set = verify(application);
  if (!set) return Failure(set.error());
  auto agent =
      std::make_shared<Agent>(application.name, policy_, shared_.registry.agent(application.name),
                              application.peer, allowances_.of(application.name));
  for (const netns::Binding& binding : application.names) {
    const auto host = allowlists::Host::parse(binding.name);
    if (!host || !host->is_name() || host->name() != binding.name) {
      return fail(Errc::bad_config, "a binding is for something that is no canonical name");
    }
  }
  if (!agent->names.restore(application.names)) {
    return fail(Errc::bad_config, "the bindings contradict one another");
  }
  auto registration = std::make_shared<Registration>(agent, set->netns_cookie, application.holder);
  registration->has_capture = set->has_capture;
  registration->ports = std::move(set->ports);
  if (auto opened = registration->open(workers_, application.sockets); !opened) {
    return Failure(opened.error());
  }
  if (!of_listeners_.reserve(application.name)) {
    return taken(application.name,
                 "an explicit listener has an agent of that name; choose another one");
  }
  live_.emplace(application.name, registration);
  by_cookie_.emplace(registration->netns_cookie, registration.get());
  Holding& holding = holdings_[application.holder];
  ++holding.agents;
  holding.ports += registration->ports.size();
  agent->metrics->started();
  return registration;
}

Result<void> Agents::add_ports(Registration& registration,
                               const std::vector<netns::RoleSocket>& sockets) {
  auto all = check_more_ports(
      {registration.netns_cookie, registration.has_capture, registration.ports}, sockets);
  if (!all) return Failure(all.error());
  if (auto opened = registration.open(workers_, sockets); !opened) return opened;
  holdings_[registration.holder].ports += sockets.size();
  registration.ports = std::move(*all);
  registration.serve();
  return {};
}

void Agents::serve(Registration& registration) {
  registration.serve();
  log::info("agent '{}' is registered{}", registration.agent->name,
            registration.has_capture
                ? std::string()
                : fmt::format(" on {} ports: its kernel has no nf_tables, or cannot capture",
                              registration.ports.size()));
}

bool Agents::is_live(const Registration& registration) const noexcept {
  const auto found = live_.find(registration.agent->name);
  return found != live_.end() && found->second.get() == &registration;
}

void Agents::remove(Registration& registration) {
  if (ended_ || !is_live(registration)) return;
  registration.close(
      [agent = registration.agent](Worker& worker) { worker.break_off(agent.get()); });
  log::info("agent '{}' is gone", registration.agent->name);
  of_listeners_.release(registration.agent->name);
  by_cookie_.erase(registration.netns_cookie);
  const auto holding = holdings_.find(registration.holder);
  holding->second.ports -= registration.ports.size();
  if (--holding->second.agents == 0) holdings_.erase(holding);
  live_.erase(live_.find(registration.agent->name));  // last: it may be what held the registration
}

void Agents::withdraw(Registration& registration, std::string_view what) {
  const std::string seen(what.substr(0, longest_sight));
  log::warning("agent '{}' has a way out besides sluiced, and is served no longer: {}",
               registration.agent->name, text::printable(seen));
  if (shared_.audit != nullptr) {
    shared_.audit->write({.agent = registration.agent->name,
                          .via = metrics::Via::event,
                          .verdict = Verdict::deny,
                          .reason = Reason::not_listed,
                          .rule = "default",
                          .error = seen});
  }
  note_end(registration, AgentEnd::withdrawn);
  remove(registration);
}

void Agents::note_end(Registration& registration, AgentEnd end,
                      std::optional<std::uint64_t> status) {
  if (ended_ || std::exchange(registration.end_noted, true)) return;
  registration.agent->metrics->ended(end);
  if (shared_.audit == nullptr) return;
  shared_.audit->write(agent_end_line(registration.agent->name, end, status));
}

void Agents::note_probe(const Registration& registration, metrics::Held held,
                        std::string_view what) {
  shared_.registry.probed(held);
  if (held) return;
  const std::string reached(what.substr(0, longest_sight));
  log::warning("the containment of agent '{}' did not hold: {}", registration.agent->name,
               text::printable(reached));
  if (shared_.audit == nullptr) return;
  shared_.audit->write(leak_line(registration.agent->name, reached));
}

void Agents::log_execs(const Registration& registration, const netns::Event& event) {
  const Agent& agent = *registration.agent;
  const std::uint64_t without_line = std::min(event.count, most_left_out);
  agent.metrics->started_programs(event.execs.size() + without_line);
  if (shared_.audit == nullptr) return;
  if (without_line > 0) shared_.audit->write(execs_left_out_line(agent.name, without_line));
  for (const netns::SeenExec& exec : event.execs) {
    shared_.audit->write(exec_line(agent.name, exec));
  }
}

Agents::Holding Agents::held_by(uid_t holder) const noexcept {
  const auto found = holdings_.find(holder);
  return found == holdings_.end() ? Holding() : found->second;
}

void Agents::close_listeners() {
  for (const auto& [name, registration] : live_) registration->close([](Worker&) {});
}

Result<void> Agents::rest() {
  std::vector<std::vector<netns::RoleSocket>> sockets;
  for (const auto& [name, registration] : live_) {
    auto copies = registration->duplicates();
    if (!copies) return Failure(copies.error());
    sockets.push_back(std::move(*copies));
  }
  auto copies = sockets.begin();
  for (const auto& [name, registration] : live_) {
    registration->resting = std::move(*copies++);
    registration->close([](Worker&) {});
  }
  return {};
}

bool Agents::rests() const noexcept {
  return std::ranges::all_of(live_, [](const auto& one) { return one.second->is_closed(); });
}

Result<void> Agents::go_on() {
  for (const auto& [name, registration] : live_) {
    registration->agent->names.thaw();
    if (registration->resting.empty()) continue;
    registration->forget_sockets();
    auto opened = registration->open(workers_, registration->resting);
    if (!opened) return Failure(opened.error());
    registration->resting.clear();
    serve(*registration);
  }
  return {};
}

void Agents::leave_to_another() {
  for (const auto& [name, registration] : live_) {
    registration->resting.clear();
    registration->agent->lease.end();
  }
}

void Agents::break_off(const std::shared_ptr<Agent>& agent) {
  for (const auto& worker : workers_) {
    asio::post(worker->io, [&worker = *worker, agent] { worker.break_off(agent.get()); });
  }
}

std::vector<AgentAccount> Agents::accounts() const {
  std::vector<AgentAccount> accounts = of_listeners_.accounts();
  for (const auto& [name, registration] : live_) {
    accounts.push_back(account_of(*registration->agent, HasNetwork::yes));
  }
  std::ranges::sort(accounts, {}, &AgentAccount::name);
  return accounts;
}

int Agents::sessions() const noexcept {
  int open = of_listeners_.sessions();
  for (const auto& [name, registration] : live_) open += registration->agent->sessions;
  return open;
}

}  // namespace sluice::proxy
