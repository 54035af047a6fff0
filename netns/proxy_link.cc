#include "netns/proxy_link.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "netns/remake.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

using Clock = std::chrono::steady_clock;

// For a sluiced that is behind with what it was told.
constexpr std::chrono::seconds room_time{5};

// What one agent can be given (16,384), with room; more would be a sluiced gone mad.
constexpr std::size_t most_names = 20'000;

constexpr std::array<Role, role_count> roles{Role::tproxy4, Role::tproxy6, Role::dns_udp,
                                             Role::dns_tcp, Role::proxy};

constexpr const char* port_hint =
    "load the modules (modprobe -a nf_tables nft_tproxy nft_objref nft_reject_inet), or give the "
    "agent's rules a list of ports";

// A duplicate in another process would keep a merely closed listener open, and connects would hang.
void close_listener(Fd& listener) {
  if (listener) ::shutdown(listener.get(), SHUT_RDWR);
  listener.reset();
}

bool has_hung_up(const Fd& handover) {
  pollfd wait{handover.get(), 0, 0};
  return ::poll(&wait, 1, 0) == 1 && (wait.revents & POLLHUP) != 0;
}

std::uint16_t port_of(const RoleSocket& socket) {
  const auto bound = local_endpoint(socket.fd.get());
  return bound ? bound->port : std::uint16_t{0};
}

}  // namespace

void close_listeners(Listeners& listeners) {
  for (Fd& listener : listeners) close_listener(listener);
}

Result<void> ProxyLink::ask(const Request& request, const std::vector<int>& fds) {
  auto sent = send_packet(handover_.get(), encode(request), fds);
  // What sluiced said before it hung up (whom it does not admit, it tells so at once) is for
  // receive().
  if (!sent && has_hung_up(handover_)) return {};
  return sent;
}

Result<void> ProxyLink::ask_patiently(const Request& request) {
  const auto until = Clock::now() + room_time;
  for (;;) {
    auto asked = ask(request);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (asked || errno != EAGAIN || left <= 0) return asked;
    pollfd room{handover_.get(), POLLOUT, 0};
    ::poll(&room, 1, static_cast<int>(left));
  }
}

Result<void> ProxyLink::register_over(Fd handover, const Listeners& listeners) {
  handover_ = std::move(handover);
  listeners_ = &listeners;
  names_sent_ = 0;
  adds_ = 0;
  for (auto& [port, listener] : ports_) listener.is_handed = false;
  const bool is_captured = bool(listeners[static_cast<std::size_t>(Role::tproxy4)]);
  state_ = is_captured ? State::sending_names : State::asking_ports;
  return is_captured ? send_next() : ask(AskPorts{agent_});
}

Result<void> ProxyLink::send_next() {
  const std::size_t left = names_.size() - names_sent_;
  const auto begin = names_.begin() + static_cast<std::ptrdiff_t>(names_sent_);
  if (left > max_names_per_message) {
    names_sent_ += max_names_per_message;
    const auto end = names_.begin() + static_cast<std::ptrdiff_t>(names_sent_);
    return ask(Names{{begin, end}});
  }
  names_sent_ = names_.size();
  state_ = State::registering;
  return send_register({begin, names_.end()});
}

Result<void> ProxyLink::send_register(std::vector<Binding> names) {
  Register request{agent_, {}, std::move(names)};
  std::vector<int> fds;
  for (const Role role : roles) {
    const Fd& listener = (*listeners_)[static_cast<std::size_t>(role)];
    if (!listener) continue;
    request.sockets.push_back(role);
    fds.push_back(listener.get());
  }
  for (const int fd : unhanded_ports(max_sockets_per_message - fds.size())) {
    request.sockets.push_back(Role::port);
    fds.push_back(fd);
  }
  return ask(request, fds);
}

Result<void> ProxyLink::unregister() {
  state_ = State::ending;
  return ask_patiently(Unregister{});
}

Result<void> ProxyLink::report(const netns::Event& event) { return ask(event); }

Result<void> ProxyLink::report_last(const netns::Event& event) { return ask_patiently(event); }

Result<void> ProxyLink::report_encoded(const std::string& event) {
  return send_packet(handover_.get(), event);
}

std::vector<std::uint16_t> ProxyLink::ports() const {
  std::vector<std::uint16_t> all;
  all.reserve(ports_.size());
  for (const auto& [port, listener] : ports_) all.push_back(port);
  return all;
}

void ProxyLink::close_ports() {
  for (auto& [port, listener] : ports_) close_listener(listener.fd);
  ports_.clear();
}

Result<void> ProxyLink::open_ports(const Ports& ports) {
  if (ports.any) {
    return fail(Errc::unavailable,
                fmt::format("the policy lets agent '{}' connect to more ports than can be listened "
                            "on one by one, and the kernel has no nf_tables to capture them",
                            agent_),
                port_hint);
  }
  std::vector<std::uint16_t> missing;
  for (const std::uint16_t port : ports.ports) {
    if (!ports_.contains(port)) missing.push_back(port);
  }
  if (missing.empty()) return {};
  const Fd& any_listener = (*listeners_)[static_cast<std::size_t>(Role::dns_tcp)];
  const auto its_namespace = namespace_of(any_listener.get());
  if (!its_namespace) return Failure(its_namespace.error());
  auto sockets = open_port_listeners_in(its_namespace->get(), missing);
  if (!sockets) return Failure(sockets.error());
  for (RoleSocket& socket : *sockets) {
    const std::uint16_t port = port_of(socket);
    ports_[port] = PortListener{std::move(socket.fd)};
  }
  return {};
}

// At most `most`; from then on they count as handed.
std::vector<int> ProxyLink::unhanded_ports(std::size_t most) {
  std::vector<int> fds;
  for (auto& [port, listener] : ports_) {
    if (listener.is_handed || fds.size() == most) continue;
    listener.is_handed = true;
    fds.push_back(listener.fd.get());
  }
  return fds;
}

Result<void> ProxyLink::add_ports() {
  for (;;) {
    const std::vector<int> fds = unhanded_ports(max_sockets_per_message);
    if (fds.empty()) return {};
    if (auto sent = ask(Add{std::vector<Role>(fds.size(), Role::port)}, fds); !sent) return sent;
    ++adds_;
  }
}

void ProxyLink::take_ports(const Ports& ports, std::vector<Event>& events) {
  if (auto opened = open_ports(ports); !opened) {
    events.emplace_back(Impossible{std::move(opened.error())});
    return;
  }
  Result<void> sent;
  if (state_ == State::asking_ports) {
    state_ = State::sending_names;
    sent = send_next();
  } else if (state_ == State::registered) {
    sent = add_ports();
  }
  if (!sent) events.emplace_back(Gone{sent.error().what});
}

void ProxyLink::take_accepted(std::vector<Event>& events) {
  if (state_ != State::sending_names) {
    --adds_;
  } else if (const auto sent = send_next(); !sent) {
    events.emplace_back(Gone{sent.error().what});
  }
}

void ProxyLink::disconnect() {
  handover_.reset();
  state_ = State::disconnected;
}

void ProxyLink::remember(std::vector<Binding> names) {
  for (Binding& name : names) {
    if (names_.size() >= most_names) return;
    if (known_.insert(name.index).second) names_.push_back(std::move(name));
  }
}

void ProxyLink::take(Answer answer, std::vector<Event>& events) {
  if (auto* bindings = std::get_if<Bindings>(&answer)) {
    remember(std::move(bindings->names));
  } else if (auto* denied = std::get_if<Denied>(&answer)) {
    events.emplace_back(std::move(*denied));
  } else if (auto* refused = std::get_if<Refused>(&answer)) {
    events.emplace_back(std::move(*refused));
  } else if (auto* registered = std::get_if<Registered>(&answer);
             registered != nullptr && state_ == State::registering) {
    state_ = State::registered;
    events.emplace_back(std::move(*registered));
    if (const auto sent = add_ports(); !sent) events.emplace_back(Gone{sent.error().what});
  } else if (auto* totals = std::get_if<Totals>(&answer);
             totals != nullptr && state_ == State::ending) {
    events.emplace_back(std::move(*totals));
  } else if (const auto* ports = std::get_if<Ports>(&answer);
             ports != nullptr && !(*listeners_)[static_cast<std::size_t>(Role::tproxy4)]) {
    take_ports(*ports, events);
  } else if (std::holds_alternative<Accepted>(answer) &&
             (state_ == State::sending_names || adds_ > 0)) {
    take_accepted(events);
  } else {
    events.emplace_back(Gone{"it answered what was not asked"});
  }
}

std::vector<ProxyLink::Event> ProxyLink::receive() {
  std::vector<Event> events;
  while (handover_) {
    auto packet = receive_packet(handover_.get());
    if (packet && !*packet) return events;
    if (!packet || (*packet)->closed) {
      events.emplace_back(Gone{packet ? "it has ended" : packet.error().what});
      disconnect();
      return events;
    }
    auto answer = decode_answer((*packet)->bytes);
    if (answer) {
      take(std::move(*answer), events);
    } else {
      events.emplace_back(Gone{answer.error().what});
    }
    if (!events.empty() && std::holds_alternative<Gone>(events.back())) disconnect();
  }
  return events;
}

}  // namespace sluice::netns
