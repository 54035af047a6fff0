#include "proxy/egress/dialer.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "proxy/egress/race.h"

namespace sluice::proxy {
namespace {

constexpr std::string_view machine_name = "host.sluice.internal";

constexpr IpAddress loopback4 = IpAddress::v4(0x7f000001);
constexpr IpAddress loopback6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

bool is_machine(const allowlists::Host& host) {
  return host.is_name() && host.name() == machine_name;
}

// RFC 6761 6.3: to an upstream proxy the name would mean its machine.
bool is_localhost(const allowlists::Host& host) {
  return host.is_name() && (host.name() == "localhost" || host.name().ends_with(".localhost"));
}

bool is_loopback(const IpAddress& address) {
  return address.is_v4() ? address.v4_value() >> 24 == 127 : address == loopback6;
}

const allowlists::Decision forbidden{.verdict = Verdict::deny, .reason = Reason::address_forbidden};
const allowlists::Decision allowed{.verdict = Verdict::allow, .reason = Reason::listed};

bool contains(const std::vector<IpAddress>& addresses, const IpAddress& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// Whether who is at `known` may be at `address` too: on this machine perhaps on all its addresses.
bool may_listen_on(const IpAddress& address, const std::vector<IpAddress>& known,
                   RouteQuery& routes) {
  if (contains(known, address)) return true;
  return routes.is_local(address) &&
         std::any_of(known.begin(), known.end(),
                     [&](const IpAddress& one) { return bool(routes.is_local(one)); });
}

void fail_by(Dialled& dialled, Connecting how) {
  if (how.unsent.empty()) {
    dialled.reason = reason_of(how.error);
    dialled.why = fmt::format("{}: {}", dialled.address.to_string(), how.error.message());
  } else {
    dialled.reason = Reason::unreachable;
    dialled.why = std::move(how.unsent);
  }
  ErrorCode ignored;
  dialled.socket.close(ignored);
}

void stand(Dialled& dialled) {
  ErrorCode ignored;
  dialled.socket.set_option(Tcp::no_delay(true), ignored);
  dialled.connected = true;
}

bool is_given_up(const DialOrder& order) {
  return order.give_up != nullptr && order.give_up->said();
}

Dialled given_up(asio::io_context& io) {
  return not_dialled(io, Reason::unreachable, "the agent is gone");
}

void explain_refusal(Dialled& dialled, const allowlists::Target& target) {
  const bool was_refused = !dialled.connected && !is_failure(dialled.reason);
  if (was_refused && target.host.is_name()) {
    dialled.why = fmt::format("the name leads to {}", dialled.address.to_string());
  }
}

}  // namespace

Dialled not_dialled(asio::io_context& io, Reason reason, std::string why) {
  return {.socket = Socket(io), .reason = reason, .why = std::move(why)};
}

Task<Resolution> Dialer::addresses_of(const DialOrder& order) {
  const allowlists::Host& host = order.target->host;
  Resolution known;
  if (!host.is_name()) {
    known.addresses = {host.address()};
    co_return known;
  }
  if (is_machine(host)) {
    known.addresses = {loopback4, loopback6};
    co_return known;
  }
  Question question{host.name(), std::string(order.agent), order.give_up};
  co_return co_await resolver_.resolve(std::move(question));
}

bool Dialer::is_own(const IpAddress& address, std::uint16_t port) const {
  const OwnListeners& own = terms_.own_listeners;
  return std::any_of(own.begin(), own.end(), [&](const TcpEndpoint& listener) {
    if (listener.port() != port) return false;
    // A listener on every address is on each address of this machine.
    return listener.address().is_unspecified() ? bool(routes_.is_local(address))
                                               : from_asio(listener.address()) == address;
  });
}

// A name that is resolved by nobody here.
bool Dialer::goes_as_name(const allowlists::Host& host) const {
  const UpstreamProxy* upstream = terms_.way_out.upstream();
  return upstream != nullptr && upstream->send == Config::UpstreamProxy::Send::name &&
         host.is_name() && !is_machine(host) && !is_localhost(host) && !upstream->excepts(host);
}

allowlists::Decision Dialer::judge(const allowlists::AgentRules& rules,
                                   const allowlists::Target& target,
                                   const IpAddress& address) const {
  if (address == IpAddress() && goes_as_name(target.host)) return allowed;
  const UpstreamProxy* upstream = terms_.way_out.upstream();
  // Whoever spoke to it directly could ask it for anything.
  const bool is_upstream = upstream != nullptr && upstream->port == target.port &&
                           may_listen_on(address, upstream_addresses_, routes_);
  if (is_upstream || is_own(address, target.port)) return forbidden;
  return rules.judge_address(target, address, routes_.is_local(address));
}

// What is this machine's own means something else to an upstream proxy.
Dialer::Ways Dialer::ways_to(const allowlists::Host& host,
                             const std::vector<IpAddress>& addresses) const {
  Ways ways;
  const UpstreamProxy* upstream = terms_.way_out.upstream();
  for (const IpAddress& address : in_turn(addresses)) {
    const bool direct = upstream == nullptr || upstream->excepts(host) ||
                        upstream->excepts(address) || is_loopback(address) ||
                        routes_.is_local(address);
    (direct ? ways.direct : ways.through_upstream).push_back(address);
  }
  return ways;
}

// An attempt at connecting: what was refused before it is none, and what was given up neither.
void Dialer::count(const Dialled& dialled, Time began) const {
  metrics::PathCounts* const counts = resolver_.counts();
  if (counts == nullptr) return;
  if (dialled.connected) {
    counts->connected_in(Clock::now() - began);
  } else if (is_failure(dialled.reason)) {
    counts->connect_failed(dialled.reason);
  }
}

Task<Dialled> Dialer::dial_directly(const DialOrder& order, std::vector<IpAddress> addresses,
                                    Time until) {
  if (addresses.size() == 1) {
    DialOrder alone = order;
    alone.connect_timeout =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    co_return co_await dial_alone(alone, addresses.front());
  }
  Course course{
      .judge = [&](const IpAddress& address) { return judge(order.rules, *order.target, address); },
      .port = order.target->port,
      .leaving = leaving(order),
      .through = {},
      .until = until,
      .attempt_delay = terms_.attempt_delay,
      .give_up = order.give_up};
  const Time began = Clock::now();
  Race race(io_, std::move(course), std::move(addresses));
  co_await race.run();
  Dialled dialled = race.outcome();
  if (!is_given_up(order)) count(dialled, began);
  explain_refusal(dialled, *order.target);
  co_return dialled;
}

// Learns the upstream proxy's addresses. A dial that failed: they cannot be had.
Task<std::optional<Dialled>> Dialer::look_up_upstream(const DialOrder& order) {
  const UpstreamProxy& upstream = *terms_.way_out.upstream();
  Resolution resolution;
  if (upstream.host.is_name()) {
    Question question{upstream.host.name(), {}, order.give_up};
    resolution = co_await resolver_.resolve(std::move(question));
  } else {
    resolution.addresses = {upstream.host.address()};
  }
  if (resolution.addresses.empty()) {
    co_return not_dialled(io_, resolution.failure,
                          fmt::format("the name of the upstream proxy {} could not be resolved",
                                      upstream.to_string()));
  }
  upstream_addresses_ = in_turn(resolution.addresses);
  co_return std::nullopt;
}

// A connection to the upstream proxy itself. It is the operator's: no rule of an agent speaks about
// it.
Task<Dialled> Dialer::dial_upstream(const DialOrder& order, Time until) {
  const UpstreamProxy& upstream = *terms_.way_out.upstream();
  Course course{.judge =
                    [&](const IpAddress& address) {
                      return is_own(address, upstream.port) ? forbidden : allowed;
                    },
                .port = upstream.port,
                .leaving = leaving(order),
                .through = {},
                .until = until,
                .attempt_delay = terms_.attempt_delay,
                .give_up = order.give_up};
  const Time began = Clock::now();
  Race race(io_, std::move(course), upstream_addresses_);
  co_await race.run();
  Dialled dialled = race.outcome();
  if (!is_given_up(order)) count(dialled, began);
  if (dialled.connected) co_return dialled;
  if (!is_failure(dialled.reason)) {
    dialled.reason = Reason::unreachable;
    dialled.why = "it is a listener of this sluiced";
  }
  std::string why =
      fmt::format("the upstream proxy {} cannot be reached: {}", upstream.to_string(), dialled.why);
  co_return not_dialled(io_, dialled.reason, std::move(why));
}

// Asks the upstream proxy for a tunnel to one of `addresses`; for order.target by name where that
// is how it goes.
Task<Dialled> Dialer::dial_through(const DialOrder& order, std::vector<IpAddress> addresses,
                                   Time until) {
  const UpstreamProxy& upstream = *terms_.way_out.upstream();
  const auto may_go = [&](const IpAddress& address) {
    return judge(order.rules, *order.target, address);
  };
  // Nothing is said to the upstream proxy, not even by connecting to it, for what is refused.
  if (std::none_of(addresses.begin(), addresses.end(), may_go)) {
    co_return co_await dial_directly(order, std::move(addresses), until);
  }
  Dialled to_upstream = co_await dial_upstream(order, until);
  if (!to_upstream.connected) co_return to_upstream;
  Through through{upstream, to_upstream.address, std::move(to_upstream.socket), {}};
  if (goes_as_name(order.target->host)) through.name = order.target->to_string();
  Course course{.judge = may_go,
                .port = order.target->port,
                .leaving = leaving(order),
                .through = std::move(through),
                .until = until,
                .attempt_delay = terms_.attempt_delay,
                .give_up = order.give_up};
  const Time began = Clock::now();
  Race race(io_, std::move(course), std::move(addresses));
  co_await race.run();
  Dialled dialled = race.outcome();
  if (!is_given_up(order)) count(dialled, began);
  explain_refusal(dialled, *order.target);
  co_return dialled;
}

Task<Dialled> Dialer::dial_by_name(const DialOrder& order) {
  const UpstreamProxy& upstream = *terms_.way_out.upstream();
  auto unknown = co_await look_up_upstream(order);
  if (unknown) co_return std::move(*unknown);
  if (order.target->host == upstream.host && order.target->port == upstream.port) {
    co_return not_dialled(io_, Reason::address_forbidden, "it is the upstream proxy itself");
  }
  std::vector<IpAddress> unknown_here{IpAddress()};
  co_return co_await dial_through(order, std::move(unknown_here),
                                  Clock::now() + order.connect_timeout);
}

Task<Dialled> Dialer::dial(DialOrder order) {
  const auto only = only_address(order.target->host);
  if (only) return dial_alone(order, *only);
  return dial_any(order);
}

Task<Dialled> Dialer::dial_any(DialOrder order) {
  Dialled dialled = co_await find_way(order);
  if (is_given_up(order)) co_return given_up(io_);
  co_return dialled;
}

std::optional<IpAddress> Dialer::only_address(const allowlists::Host& host) const {
  if (terms_.way_out.upstream() != nullptr) return {};
  if (!host.is_name()) return host.address();
  if (is_machine(host)) return {};
  const auto* known = resolver_.known(host.name());
  return known != nullptr && known->size() == 1 ? std::optional(known->front()) : std::nullopt;
}

// What a race to one address would be, without what several need.
Task<Dialled> Dialer::dial_alone(DialOrder order, IpAddress address) {
  if (is_given_up(order)) co_return given_up(io_);
  Dialled dialled{.socket = Socket(io_), .address = address};
  // Judged and dialled in one breath: exactly this address, as the kernel's routes are now.
  const allowlists::Decision judgement = judge(order.rules, *order.target, address);
  if (!judgement) {
    dialled.reason = judgement.reason;
    dialled.rule = judgement.rule;
    explain_refusal(dialled, *order.target);
    co_return dialled;
  }
  const TcpEndpoint to(to_asio(address), order.target->port);
  const Time began = Clock::now();
  Connecting how = begin_to_connect(dialled.socket, to, leaving(order));
  if (!how.stands && !how.has_failed()) {
    Deadline deadline(terms_.wheel, dialled.socket);
    deadline.arm(order.connect_timeout);
    const WaitsFor waits(dialled.socket, order.give_up);
    while (!how.stands && !how.has_failed()) {
      const auto [error] = co_await dialled.socket.async_wait(Socket::wait_write);
      if (deadline.expired()) {
        how.error = asio::error::timed_out;
      } else if (error) {
        how.error = error;
      } else {
        how = settle(dialled.socket);
      }
    }
    if (waits.is_over()) co_return given_up(io_);
  }
  if (how.stands) {
    stand(dialled);
  } else {
    fail_by(dialled, std::move(how));
  }
  count(dialled, began);
  co_return dialled;
}

Task<Dialled> Dialer::find_way(const DialOrder& order) {
  if (goes_as_name(order.target->host)) co_return co_await dial_by_name(order);
  Resolution resolution = co_await addresses_of(order);
  if (resolution.addresses.empty()) {
    co_return not_dialled(io_, resolution.failure, std::move(resolution.why));
  }
  Ways ways = ways_to(order.target->host, resolution.addresses);
  const UpstreamProxy* upstream = terms_.way_out.upstream();
  const bool through = !ways.through_upstream.empty();
  if (through && upstream->send == Config::UpstreamProxy::Send::name &&
      !order.target->host.is_name()) {
    co_return not_dialled(
        io_, Reason::address_forbidden,
        "the upstream proxy is given names only (send: name), and no 'except' covers "
        "this address");
  }
  if (upstream != nullptr && (through || upstream->port == order.target->port)) {
    auto unknown = co_await look_up_upstream(order);
    if (unknown) co_return std::move(*unknown);
  }
  const Time until = Clock::now() + order.connect_timeout;
  if (!through) co_return co_await dial_directly(order, std::move(ways.direct), until);
  if (!ways.direct.empty()) {
    Dialled dialled = co_await dial_directly(order, std::move(ways.direct), until);
    if (dialled.connected) co_return dialled;
  }
  co_return co_await dial_through(order, std::move(ways.through_upstream), until);
}

}  // namespace sluice::proxy
