#include "proxy/daemon/agents.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "base/text.h"
#include "proxy/daemon/spawn.h"
#include "proxy/session/dns.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

struct Registration::Thread {
  explicit Thread(Worker& its_worker) : worker(its_worker) {}
  Worker& worker;
  std::vector<std::shared_ptr<Acceptor>> acceptors;
  std::shared_ptr<UdpSocket> dns;

  void close() {
    ErrorCode ignored;
    for (const auto& acceptor : acceptors) acceptor->close(ignored);
    if (dns) dns->close(ignored);
  }
};

namespace {

using namespace std::chrono_literals;

// After a failed accept (descriptors, memory or epoll watches used up): long enough not to spin.
constexpr auto accept_pause = 100ms;
// While an agent has as many connections as it may, its next one waits unserved and those behind it
// in the listener's backlog.
constexpr auto full_pause = 20ms;

bool is_closed(const ErrorCode& error) {
  return error == asio::error::operation_aborted || error == asio::error::bad_descriptor;
}

Task<void> accept_all(Worker& worker, std::shared_ptr<Agent> agent,
                      std::shared_ptr<Acceptor> acceptor, netns::Role role) {
  Timer pause(worker.io);
  const auto most = static_cast<int>(worker.shared.limits.connections_per_agent);
  while (acceptor->is_open()) {
    auto [error, socket] = co_await acceptor->async_accept();
    if (!error) {
      while (most > 0 && agent->sessions >= most && acceptor->is_open()) {
        pause.expires_after(full_pause);
        co_await pause.async_wait();
      }
      spawn(worker.io, serve(worker, agent, std::move(socket), role));
      continue;
    }
    if (is_closed(error)) co_return;
    if (error == asio::error::connection_aborted) continue;  // it went away while it waited
    log::warning("cannot accept a connection of agent '{}': {}", agent->name, error.message());
    pause.expires_after(accept_pause);
    co_await pause.async_wait();
  }
}

Result<Fd> duplicate(const Fd& fd) {
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
  return copy;
}

// One role's socket in one thread. The kernel's state is shared; the descriptor is this thread's.
Result<void> open_in(Registration::Thread& thread, const netns::RoleSocket& socket) {
  auto copy = duplicate(socket.fd);
  if (!copy) return Failure(copy.error());
  ErrorCode error;
  if (socket.role == netns::Role::dns_udp) {
    thread.dns = std::make_shared<UdpSocket>(thread.worker.io);
    thread.dns->assign(asio::ip::udp::v6(), copy->get(), error);
  } else {
    const bool v4 = socket.role == netns::Role::tproxy4 || socket.role == netns::Role::proxy;
    thread.acceptors.push_back(std::make_shared<Acceptor>(thread.worker.io));
    thread.acceptors.back()->assign(v4 ? Tcp::v4() : Tcp::v6(), copy->get(), error);
  }
  if (error)
    return fail(Errc::unavailable, fmt::format("cannot watch a listener: {}", error.message()));
  (void)copy->release();
  return {};
}

void serve_in(const std::shared_ptr<Registration::Thread>& thread,
              const std::shared_ptr<Agent>& agent, const std::vector<netns::Role>& roles) {
  Worker& worker = thread->worker;
  auto acceptor = thread->acceptors.begin();
  for (const netns::Role role : roles) {
    if (role != netns::Role::dns_udp)
      spawn(worker.io, accept_all(worker, agent, *acceptor++, role));
  }
  if (thread->dns) spawn(worker.io, serve_dns_udp(worker, agent, thread->dns));
}

}  // namespace

Registration::Registration(std::shared_ptr<Agent> its_agent, std::uint64_t cookie)
    : agent(std::move(its_agent)), netns_cookie(cookie) {}
Registration::~Registration() = default;

void Agents::set_policy(std::shared_ptr<const allowlists::Policy> policy) {
  policy_ = std::move(policy);
  shared_.registry.set_policy_rules(policy_->rule_count());
  for (const auto& [name, registration] : live_) registration->agent->set_policy(policy_);
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
  std::vector<netns::Role> roles;
  for (const auto& socket : application.sockets) roles.push_back(socket.role);
  // Questions of one agent are answered on one thread; connections on all.
  const std::size_t dns_thread = *cookie % workers_.size();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    auto thread = std::make_shared<Registration::Thread>(*workers_[i]);
    for (const netns::RoleSocket& socket : application.sockets) {
      if (socket.role == netns::Role::dns_udp && i != dns_thread) continue;
      if (auto opened = open_in(*thread, socket); !opened) return Failure(opened.error());
    }
    registration->threads.push_back(std::move(thread));
  }
  for (const auto& thread : registration->threads) {
    asio::post(thread->worker.io, [thread, agent, roles] { serve_in(thread, agent, roles); });
  }
  live_.emplace(application.name, registration);
  log::info("agent '{}' is registered", application.name);
  return registration;
}

void Agents::remove(const Registration& registration) {
  if (ended_) return;
  for (const auto& thread : registration.threads) {
    asio::post(thread->worker.io, [thread, agent = registration.agent] {
      thread->close();
      thread->worker.break_off(agent.get());
    });
  }
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

int Agents::sessions() const noexcept {
  int open = 0;
  for (const auto& [name, registration] : live_) open += registration->agent->sessions;
  return open;
}

}  // namespace sluice::proxy
