#include "proxy/daemon/agents.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "base/text.h"
#include "netns/take_over.h"
#include "proxy/daemon/intake.h"
#include "proxy/daemon/spawn.h"
#include "proxy/session/dns.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

struct Registration::Thread {
  explicit Thread(Worker& its_worker) : worker(its_worker) {}
  Worker& worker;
  std::vector<std::shared_ptr<Intake>> intakes;
  std::vector<netns::Role> roles;  // in the order of intakes
  std::shared_ptr<UdpSocket> dns;

  void close() {
    for (const auto& intake : intakes) intake->close();
    ErrorCode ignored;
    if (dns) dns->close(ignored);
  }
};

namespace {

// A connection inherits SO_LINGER from its listener, whose open file is the peer's as well, and
// with it close(2) waits even where nothing else does (socket(7)). O_NONBLOCK cannot be kept in the
// same way: a peer that takes it away from under a listener can make accept(2) wait where another
// thread was faster. Only root and sluiced's own user can be such a peer, and they could as well
// end it.
void forget_inherited(Socket& socket) noexcept {
  constexpr linger none{};
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

class AgentIntake final : public Intake {
 public:
  AgentIntake(Worker& worker, std::shared_ptr<Agent> agent, netns::Role role)
      : Intake(worker), agent_(std::move(agent)), role_(role) {}

 private:
  bool is_full() const noexcept override {
    const auto most = static_cast<int>(worker().shared.limits.connections_per_agent);
    return most > 0 && agent_->sessions >= most;
  }
  void take(Socket socket, const IpAddress&) override {
    forget_inherited(socket);
    spawn(worker().io, proxy::serve(worker(), agent_, std::move(socket), role_));
  }
  std::string what() const override {
    return fmt::format("a connection of agent '{}'", agent_->name);
  }

  const std::shared_ptr<Agent> agent_;
  const netns::Role role_;
};

// One role's socket in one thread. The kernel's state is shared; the descriptor is this thread's.
Result<void> open_in(Registration::Thread& thread, const std::shared_ptr<Agent>& agent,
                     const netns::RoleSocket& socket) {
  if (socket.role != netns::Role::dns_udp) {
    thread.intakes.push_back(std::make_shared<AgentIntake>(thread.worker, agent, socket.role));
    thread.roles.push_back(socket.role);
    return thread.intakes.back()->open(socket.fd.get());
  }
  Fd copy(::fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
  ErrorCode error;
  thread.dns = std::make_shared<UdpSocket>(thread.worker.io);
  thread.dns->assign(asio::ip::udp::v6(), copy.get(), error);
  if (error)
    return fail(Errc::unavailable, fmt::format("cannot watch a listener: {}", error.message()));
  (void)copy.release();
  return {};
}

void serve_in(const std::shared_ptr<Registration::Thread>& thread,
              const std::shared_ptr<Agent>& agent) {
  Worker& worker = thread->worker;
  for (const auto& intake : thread->intakes) spawn(worker.io, Intake::serve(intake));
  if (thread->dns) spawn(worker.io, serve_dns_udp(worker, agent, thread->dns));
}

// Duplicates of what the threads serve; they are assigned and read on the control thread only.
Result<std::vector<netns::RoleSocket>> duplicates(const Registration& registration) {
  std::vector<netns::RoleSocket> sockets;
  const auto add = [&](netns::Role role, int fd) -> Result<void> {
    Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
    sockets.push_back({role, std::move(copy)});
    return {};
  };
  for (const auto& thread : registration.threads) {
    const bool first = thread == registration.threads.front();
    for (std::size_t i = 0; first && i < thread->intakes.size(); ++i) {
      auto added = add(thread->roles[i], thread->intakes[i]->fd());
      if (!added) return Failure(added.error());
    }
    if (!thread->dns) continue;
    auto added = add(netns::Role::dns_udp, thread->dns->native_handle());
    if (!added) return Failure(added.error());
  }
  return sockets;
}

}  // namespace

Registration::Registration(std::shared_ptr<Agent> its_agent, std::uint64_t cookie)
    : agent(std::move(its_agent)), netns_cookie(cookie) {}
Registration::~Registration() = default;

std::string Registration::id() const { return fmt::format("{}-{:x}", agent->name, netns_cookie); }

netns::Totals Registration::counted() const {
  const metrics::Totals here = agent->metrics->totals();
  netns::Totals totals{
      .allowed = here.allowed, .bytes_up = here.bytes_up, .bytes_down = here.bytes_down};
  for (std::size_t i = 0; i < reason_count; ++i) {
    const std::uint64_t count = here.denied[i] + here.dns_denied[i];
    const std::string name(reason_name(static_cast<Reason>(i)));
    if (count > 0) totals.denied[name] = count;
    if (here.reported[i] > 0) totals.reported[name] = here.reported[i];
  }
  netns::add(totals, carried);
  return totals;
}

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

Result<std::uint64_t> Agents::verify(const Application& application) const {
  const std::string shown = text::printable(application.name);
  if (!allowlists::is_agent_name(application.name)) {
    return fail(Errc::bad_config, fmt::format("'{}' is no agent name", shown),
                "letters, digits, '.', '_' and '-', at most 63");
  }
  if (live_.contains(application.name)) {
    return fail(Errc::unavailable, fmt::format("the agent name '{}' is taken", shown),
                "choose another name");
  }
  std::optional<std::uint64_t> cookie;
  std::array<int, netns::role_count> seen{};
  for (const netns::RoleSocket& socket : application.sockets) {
    auto own = netns::verify_socket(socket.role, socket.fd.get());
    if (!own) return Failure(own.error());
    if (cookie.value_or(*own) != *own) {
      return fail(Errc::not_permitted, "the sockets are of different network namespaces");
    }
    cookie = *own;
    ++seen[static_cast<std::size_t>(socket.role)];
  }
  if (std::any_of(seen.begin(), seen.end(), [](int count) { return count != 1; })) {
    return fail(Errc::not_permitted, "not exactly one socket of every role");
  }
  const auto ours = netns::own_netns_cookie();
  if (!ours) return Failure(ours.error());
  if (*cookie == *ours) {
    return fail(Errc::not_permitted, "the sockets are of sluiced's own network namespace");
  }
  for (const auto& [name, registration] : live_) {
    if (registration->netns_cookie == *cookie) {
      return fail(Errc::not_permitted,
                  fmt::format("the network namespace is that of agent '{}'", name));
    }
  }
  return *cookie;
}

Result<std::shared_ptr<Registration>> Agents::add(Application application) {
  const auto cookie = verify(application);
  if (!cookie) return Failure(cookie.error());
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
  auto registration = std::make_shared<Registration>(agent, *cookie);
  if (auto opened = open(*registration, application.sockets); !opened) {
    return Failure(opened.error());
  }
  if (!of_listeners_.reserve(application.name)) {
    return fail(Errc::unavailable,
                fmt::format("the agent name '{}' is taken", text::printable(application.name)),
                "an explicit listener has an agent of that name; choose another one");
  }
  live_.emplace(application.name, registration);
  return registration;
}

Result<void> Agents::open(Registration& registration,
                          const std::vector<netns::RoleSocket>& sockets) {
  std::vector<std::shared_ptr<Registration::Thread>> threads;
  // Questions of one agent are answered on one thread; connections on all.
  const std::size_t dns_thread = registration.netns_cookie % workers_.size();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    auto thread = std::make_shared<Registration::Thread>(*workers_[i]);
    for (const netns::RoleSocket& socket : sockets) {
      if (socket.role == netns::Role::dns_udp && i != dns_thread) continue;
      if (auto opened = open_in(*thread, registration.agent, socket); !opened)
        return Failure(opened.error());
    }
    threads.push_back(std::move(thread));
  }
  registration.threads = std::move(threads);
  return {};
}

void Agents::serve(const Registration& registration) {
  for (const auto& thread : registration.threads) {
    asio::post(thread->worker.io,
               [thread, agent = registration.agent] { serve_in(thread, agent); });
  }
  log::info("agent '{}' is registered", registration.agent->name);
}

void Agents::remove(const Registration& registration) {
  if (ended_) return;
  for (const auto& thread : registration.threads) {
    asio::post(thread->worker.io, [thread, agent = registration.agent] {
      thread->close();
      thread->worker.break_off(agent.get());
    });
  }
  of_listeners_.release(registration.agent->name);
  live_.erase(registration.agent->name);
  log::info("agent '{}' is gone", registration.agent->name);
}

void Agents::close_listeners() {
  for (const auto& [name, registration] : live_) {
    for (const auto& thread : registration->threads) {
      asio::post(thread->worker.io, [thread] { thread->close(); });
    }
  }
}

Result<void> Agents::rest() {
  std::vector<std::vector<netns::RoleSocket>> sockets;
  for (const auto& [name, registration] : live_) {
    auto copies = duplicates(*registration);
    if (!copies) return Failure(copies.error());
    sockets.push_back(std::move(*copies));
  }
  auto copies = sockets.begin();
  for (const auto& [name, registration] : live_) {
    registration->resting = std::move(*copies++);
    for (const auto& thread : registration->threads) {
      ++*closing_;
      asio::post(thread->worker.io, [thread, closing = closing_] {
        thread->close();
        --*closing;
      });
    }
  }
  return {};
}

Result<void> Agents::go_on() {
  for (const auto& [name, registration] : live_) {
    registration->agent->names.thaw();
    if (registration->resting.empty()) continue;
    auto opened = open(*registration, registration->resting);
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

int Agents::sessions() const noexcept {
  int open = of_listeners_.sessions();
  for (const auto& [name, registration] : live_) open += registration->agent->sessions;
  return open;
}

}  // namespace sluice::proxy
