#include "launcher/proxy_link.h"

#include <sys/socket.h>

#include <algorithm>

namespace sluice::launcher {
namespace {

// What one agent can be given (16,384), with room; more would be a sluiced gone mad.
constexpr std::size_t most_names = 20'000;

constexpr std::array<netns::Role, netns::role_count> roles{
    netns::Role::tproxy4, netns::Role::tproxy6, netns::Role::dns_udp, netns::Role::dns_tcp,
    netns::Role::proxy};

}  // namespace

void close_listeners(Listeners& listeners) {
  for (Fd& listener : listeners) {
    // A duplicate in another process would keep a merely closed listener open, and connects would
    // hang.
    if (listener) ::shutdown(listener.get(), SHUT_RDWR);
    listener.reset();
  }
}

Result<void> ProxyLink::register_over(Fd handover, const Listeners& listeners) {
  handover_ = std::move(handover);
  listeners_ = &listeners;
  names_sent_ = 0;
  state_ = State::sending_names;
  return send_next();
}

Result<void> ProxyLink::send_next() {
  const std::size_t left = names_.size() - names_sent_;
  const auto begin = names_.begin() + static_cast<std::ptrdiff_t>(names_sent_);
  if (left > netns::max_names_per_message) {
    names_sent_ += netns::max_names_per_message;
    const auto end = names_.begin() + static_cast<std::ptrdiff_t>(names_sent_);
    return netns::send_packet(handover_.get(),
                              netns::encode(netns::Request(netns::Names{{begin, end}})));
  }
  names_sent_ = names_.size();
  state_ = State::registering;
  std::vector<int> fds;
  for (const Fd& listener : *listeners_) fds.push_back(listener.get());
  const netns::Register request{agent_, {roles.begin(), roles.end()}, {begin, names_.end()}};
  return netns::send_packet(handover_.get(), netns::encode(netns::Request(request)), fds);
}

Result<void> ProxyLink::unregister() {
  state_ = State::ending;
  return netns::send_packet(handover_.get(), netns::encode(netns::Request(netns::Unregister{})));
}

void ProxyLink::disconnect() {
  handover_.reset();
  state_ = State::disconnected;
}

void ProxyLink::remember(std::vector<netns::Binding> names) {
  for (netns::Binding& name : names) {
    if (names_.size() >= most_names) return;
    if (known_.insert(name.index).second) names_.push_back(std::move(name));
  }
}

void ProxyLink::take(netns::Answer answer, std::vector<Event>& events) {
  if (auto* bindings = std::get_if<netns::Bindings>(&answer)) {
    remember(std::move(bindings->names));
  } else if (auto* denied = std::get_if<netns::Denied>(&answer)) {
    events.emplace_back(std::move(*denied));
  } else if (auto* refused = std::get_if<netns::Refused>(&answer)) {
    events.emplace_back(std::move(*refused));
  } else if (auto* registered = std::get_if<netns::Registered>(&answer);
             registered != nullptr && state_ == State::registering) {
    state_ = State::registered;
    events.emplace_back(std::move(*registered));
  } else if (auto* totals = std::get_if<netns::Totals>(&answer);
             totals != nullptr && state_ == State::ending) {
    events.emplace_back(std::move(*totals));
  } else if (std::holds_alternative<netns::Accepted>(answer) && state_ == State::sending_names) {
    if (const auto sent = send_next(); !sent) events.emplace_back(Gone{sent.error().what});
  } else {
    events.emplace_back(Gone{"it answered what was not asked"});
  }
}

std::vector<ProxyLink::Event> ProxyLink::receive() {
  std::vector<Event> events;
  while (handover_) {
    auto packet = netns::receive_packet(handover_.get());
    if (packet && !*packet) return events;
    if (!packet || (*packet)->closed) {
      events.emplace_back(Gone{packet ? "it has ended" : packet.error().what});
      disconnect();
      return events;
    }
    auto answer = netns::decode_answer((*packet)->bytes);
    if (answer) {
      take(std::move(*answer), events);
    } else {
      events.emplace_back(Gone{answer.error().what});
    }
    if (!events.empty() && std::holds_alternative<Gone>(events.back())) disconnect();
  }
  return events;
}

}  // namespace sluice::launcher
