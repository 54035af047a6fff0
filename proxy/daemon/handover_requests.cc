// What supervisors ask, and how each request is answered.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "netns/take_over.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/rare_log.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Within this time each thread closes the listeners and broken-off sessions write their last audit
// lines; totals wait for both, so that nobody is served after them.
constexpr auto longest_farewell = 3s;
constexpr int least_looks = 50;  // of a process that stood still for all of that time
// Of one event: no kernel refuses so many in the time between two, and a counter of them does not
// overflow within the lifetime of a machine, whatever a peer says.
constexpr std::uint64_t most_refused = 1'000'000'000;
constexpr std::size_t shown_names = 8;

RareLog ignored_events{1s};

Error error_of(Errc code, std::string what, std::string hint = "") {
  return {code, std::move(what), std::move(hint), {}};
}

std::vector<netns::RoleSocket> paired(const std::vector<netns::Role>& roles, std::vector<Fd> fds) {
  std::vector<netns::RoleSocket> sockets;
  sockets.reserve(fds.size());
  for (std::size_t i = 0; i < fds.size(); ++i) sockets.push_back({roles[i], std::move(fds[i])});
  return sockets;
}

const Error wrong_count{Errc::bad_config, "not as many descriptors as sockets are named", "", {}};

Error may_not_take(const Peer& peer, const std::string& agent) {
  const std::size_t shown = std::min(peer.grant.size(), shown_names);
  std::string names = fmt::format(
      "{}",
      fmt::join(peer.grant.begin(), peer.grant.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
  if (shown < peer.grant.size()) names += fmt::format(" and {} more", peer.grant.size() - shown);
  return error_of(
      Errc::not_permitted,
      fmt::format("user {} may not take the agent name '{}'", peer.uid, text::printable(agent)),
      names.empty() ? "no line of sluiced's handover.peers admits it"
                    : fmt::format("it may take: {}", names));
}

std::string sandbox_of(const Agents& agents, const std::string& agent) {
  return to_json(agents.policy()->for_agent(agent).sandbox());
}

}  // namespace

netns::Registered Peers::answer_of(const Registration& registration) const {
  return {registration.id(), !registration.has_capture,
          sandbox_of(agents_, registration.agent->name)};
}

bool Peers::tell_sandbox(Peer& peer, const netns::AskSandbox& request) {
  if (!covers(peer.grant, request.agent)) return peer.refuse(may_not_take(peer, request.agent));
  return peer.say(netns::SandboxAsked{sandbox_of(agents_, request.agent)});
}

Result<void> Peers::may_register(const Peer& peer, const std::string& agent) const {
  if (!covers(peer.grant, agent)) return Failure(may_not_take(peer, agent));
  if (agents_.held_by(peer.uid).agents < limits_.agents_per_uid) return {};
  return fail(Errc::unavailable,
              fmt::format("user {} has {} agents here, and may have no more", peer.uid,
                          limits_.agents_per_uid),
              "end some first");
}

Result<void> Peers::may_open_ports(const Peer& peer, std::size_t more) const {
  if (agents_.held_by(peer.uid).ports + more <= limits_.ports_per_uid) return {};
  return fail(Errc::unavailable,
              fmt::format("user {} may have {} listeners of ports here, and no more", peer.uid,
                          limits_.ports_per_uid),
              "end some agents first, or use a kernel with nf_tables, where none are needed");
}

bool Peers::keep_names(Peer& peer, netns::Names more) {
  if (peer.registration || peer.names.size() + more.names.size() > SyntheticNames::max_names) {
    return peer.refuse(
        error_of(Errc::bad_config, "names come before the registration, and at most 16384"));
  }
  std::move(more.names.begin(), more.names.end(), std::back_inserter(peer.names));
  return peer.say(netns::Accepted{});
}

bool Peers::enroll(Peer& peer, netns::Register request, std::vector<Fd> fds) {
  auto names = std::exchange(peer.names, {});
  if (peer.registration) {
    return peer.refuse(error_of(Errc::bad_config, "this connection has a registration"));
  }
  if (fds.size() != request.sockets.size()) return peer.refuse(wrong_count);
  const bool lasts = request.lease == netns::Lease::until_ended;
  auto sockets = paired(request.sockets, std::move(fds));
  if (const auto held = leases_.find(request.agent); lasts && held != leases_.end()) {
    return renew(peer, held->second, sockets);
  }
  if (auto may = may_register(peer, request.agent); !may) return peer.refuse(may.error());
  const auto ports = std::count(request.sockets.begin(), request.sockets.end(), netns::Role::port);
  if (auto may = may_open_ports(peer, static_cast<std::size_t>(ports)); !may) {
    return peer.refuse(may.error());
  }
  std::move(request.names.begin(), request.names.end(), std::back_inserter(names));
  auto registration = agents_.add({.name = std::move(request.agent),
                                   .sockets = std::move(sockets),
                                   .names = std::move(names),
                                   .peer = lasts ? nullptr : peer.socket,
                                   .holder = peer.uid});
  if (!registration) return peer.refuse(registration.error());
  agents_.serve(**registration);
  const netns::Registered answer = answer_of(**registration);
  if (auto before = std::exchange(peer.dismissed, nullptr)) {
    agents_.note_end(*before, AgentEnd::released);
  }
  if (lasts) {
    peer.leased = *registration;
    adopt(std::move(*registration));
  } else {
    peer.registration = std::move(*registration);
  }
  return peer.say(answer);
}

// The same again: whoever cannot know whether it has the lease asks for it.
bool Peers::renew(Peer& peer, const std::shared_ptr<Registration>& held,
                  const std::vector<netns::RoleSocket>& sockets) {
  const std::string& name = held->agent->name;
  if (held->holder != peer.uid) {
    return peer.refuse(error_of(Errc::unavailable,
                                fmt::format("the agent name '{}' is taken", name),
                                "choose another name"));
  }
  const auto set = check_network(sockets);
  if (!set) return peer.refuse(set.error());
  if (set->netns_cookie != held->netns_cookie) {
    return peer.refuse(error_of(
        Errc::unavailable,
        fmt::format("agent '{}' has an explicit lease for another network namespace", name),
        "end it first (unregister)"));
  }
  peer.leased = held;
  return peer.say(answer_of(*held));
}

bool Peers::add_ports(Peer& peer, const netns::Add& request, std::vector<Fd> fds) {
  const auto registration = peer.subject();
  if (!registration) return peer.refuse(error_of(Errc::bad_config, "nothing is registered"));
  if (fds.size() != request.sockets.size()) return peer.refuse(wrong_count);
  if (auto may = may_open_ports(peer, fds.size()); !may) return peer.refuse(may.error());
  const auto added = agents_.add_ports(*registration, paired(request.sockets, std::move(fds)));
  return added ? peer.say(netns::Accepted{}) : peer.refuse(added.error());
}

bool Peers::ask_ports(Peer& peer, netns::AskPorts request) {
  if (!covers(peer.grant, request.agent)) return peer.refuse(may_not_take(peer, request.agent));
  peer.ask_ports(std::move(request.agent));
  return peer.tell_ports();
}

Peers::Leases::iterator Peers::lease_of(const Peer& peer, const std::string& agent,
                                        std::uint64_t netns_cookie) {
  const auto found = leases_.find(agent);
  if (found == leases_.end()) return found;
  const Registration& lease = *found->second;
  const bool theirs = peer.uid == 0 || lease.holder == peer.uid;
  const bool meant = netns_cookie == 0 || lease.netns_cookie == netns_cookie;
  return theirs && meant ? found : leases_.end();
}

void Peers::heed(const Peer& peer, const netns::Event& event) {
  std::shared_ptr<Registration> of;
  const bool is_of_its_end =
      event.kind == netns::Event::Kind::agent_end || event.kind == netns::Event::Kind::probe;
  if (event.agent.empty()) {
    of = is_of_its_end ? peer.last_subject() : peer.subject();
  } else if (const auto lease = lease_of(peer, event.agent, event.netns_cookie);
             lease != leases_.end()) {
    of = lease->second;
  }
  if (!of) {
    ignored_events.warn(
        fmt::format("user {} reported what it saw of an agent that it did not register", peer.uid));
  } else if (event.kind == netns::Event::Kind::udp_refused) {
    of->agent->metrics->udp_refused(std::min(event.count, most_refused));
  } else if (event.kind == netns::Event::Kind::exec) {
    agents_.log_execs(*of, event);
  } else if (event.kind == netns::Event::Kind::agent_end) {
    agents_.note_end(*of, event.end, event.status);
  } else if (event.kind == netns::Event::Kind::probe) {
    agents_.note_probe(*of, metrics::Held(event.ok), event.text);
  } else {
    if (const auto lease = leases_.find(of->agent->name); lease != leases_.end()) {
      leases_.erase(lease);
    }
    agents_.withdraw(*of, event.text);
    if (awaits_) (void)awaits_(*of);
  }
}

// Takes what is to end from whoever holds it.
Result<std::shared_ptr<Registration>> Peers::ended_by(Peer& peer,
                                                      const netns::Unregister& request) {
  if (request.agent.empty()) {
    if (peer.registration) return std::exchange(peer.registration, nullptr);
    return fail(Errc::bad_config, "nothing is registered");
  }
  const auto lease = lease_of(peer, request.agent, request.netns_cookie);
  if (lease == leases_.end()) {
    return fail(
        Errc::not_permitted,
        fmt::format("user {} has no explicit lease of agent '{}'{}", peer.uid, request.agent,
                    request.netns_cookie == 0 ? "" : " for this network namespace"));
  }
  auto registration = std::move(lease->second);
  leases_.erase(lease);
  return registration;
}

Task<bool> Peers::dismiss(Peer& peer, netns::Unregister request) {
  const auto registration = ended_by(peer, request);
  if (!registration) co_return peer.refuse(registration.error());
  agents_.remove(**registration);
  if (request.agent.empty()) {
    peer.dismissed = *registration;
  } else {
    agents_.note_end(**registration, AgentEnd::released);
  }
  Timer pause(io_);
  const Clock::time_point until = Clock::now() + longest_farewell;
  bool ended = false;
  for (int looks = 0; !ended && (Clock::now() < until || looks < least_looks); ++looks) {
    const bool awaited = awaits_ && awaits_(**registration);
    pause.expires_after(2ms);
    co_await pause.async_wait();
    ended = !awaited && (*registration)->is_closed() && (*registration)->agent->sessions == 0;
  }
  const netns::Answer totals((*registration)->counted());
  co_return peer.say(totals);
}

bool Peers::take_over(Peer& peer, netns::TakeOver request) {
  if (!take_over_ || peer.registration || !may_take_over(peer.uid)) {
    return peer.refuse(error_of(Errc::not_permitted, "nothing can be taken over here"));
  }
  if (request.format != netns::take_over_format) {
    return peer.refuse(error_of(
        Errc::unavailable, "the new sluiced speaks another form of the take-over than the old one",
        "stop the old one, then start the new one"));
  }
  take_over_(peer.socket);
  return false;
}

Task<bool> Peers::hear(Peer& peer, netns::Packet packet) {
  auto request = netns::decode_request(packet.bytes);
  if (!request) {
    peer.refuse(request.error());
    co_return false;
  }
  if (auto* ends = std::get_if<netns::Unregister>(&*request)) {
    co_return co_await dismiss(peer, std::move(*ends));
  }
  if (auto* more = std::get_if<netns::Names>(&*request)) {
    co_return keep_names(peer, std::move(*more));
  }
  if (auto* enrolled = std::get_if<netns::Register>(&*request)) {
    co_return enroll(peer, std::move(*enrolled), std::move(packet.fds));
  }
  if (const auto* added = std::get_if<netns::Add>(&*request)) {
    co_return add_ports(peer, *added, std::move(packet.fds));
  }
  if (auto* asked = std::get_if<netns::AskPorts>(&*request)) {
    co_return ask_ports(peer, std::move(*asked));
  }
  if (const auto* asked = std::get_if<netns::AskSandbox>(&*request)) {
    co_return tell_sandbox(peer, *asked);
  }
  if (const auto* seen = std::get_if<netns::Event>(&*request)) {
    heed(peer, *seen);
    co_return true;
  }
  co_return take_over(peer, std::get<netns::TakeOver>(*request));
}

}  // namespace sluice::proxy
