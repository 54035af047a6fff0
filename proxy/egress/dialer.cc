#include "proxy/egress/dialer.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

constexpr std::string_view machine_name = "host.sluice.internal";

Reason reason_of(const ErrorCode& error) {
  if (error == asio::error::connection_refused) return Reason::connect_refused;
  if (error == asio::error::timed_out || error == asio::error::operation_aborted) {
    return Reason::connect_timeout;
  }
  return Reason::unreachable;
}

}  // namespace

Task<Resolution> Dialer::addresses_of(const allowlists::Host& host) {
  if (!host.is_name()) co_return Resolution{{host.address()}, Reason::dns_failed};
  if (host.name() == machine_name) {
    static const IpAddress::Bytes loopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    co_return Resolution{{IpAddress::v4(0x7f000001), IpAddress::v6(loopback6)}, Reason::dns_failed};
  }
  co_return co_await resolver_.resolve(host.name());
}

allowlists::Decision Dialer::judge(const allowlists::AgentRules& rules,
                                   const allowlists::Target& target,
                                   const IpAddress& address) const {
  const bool own = std::any_of(own_.begin(), own_.end(), [&](const TcpEndpoint& listener) {
    if (listener.port() != target.port) return false;
    // A listener on every address is on each address of this machine.
    return listener.address().is_unspecified() ? bool(routes_.is_local(address))
                                               : from_asio(listener.address()) == address;
  });
  if (own) {
    return {.verdict = Verdict::deny, .reason = Reason::address_forbidden};
  }
  return rules.judge_address(target, address, routes_.is_local(address));
}

Task<ErrorCode> Dialer::connect(Socket& socket, const TcpEndpoint& to, Clock::time_point until) {
  Timer timer(io_, until);
  const auto outcome = co_await (socket.async_connect(to) || timer.async_wait());
  if (outcome.index() == 1) co_return asio::error::timed_out;
  co_return std::get<0>(std::get<0>(outcome));
}

Task<Dialled> Dialer::dial(DialOrder order) {
  Dialled result{.socket = Socket(io_)};
  const Resolution resolution = co_await addresses_of(order.target.host);
  if (resolution.addresses.empty()) {
    result.reason = resolution.failure;
    co_return result;
  }
  const Clock::time_point until = Clock::now() + order.connect_timeout;
  bool judged_good = false;
  for (std::size_t i = 0; i < resolution.addresses.size(); ++i) {
    const IpAddress& address = resolution.addresses[i];
    const allowlists::Decision judgement = judge(order.rules, order.target, address);
    if (!judgement) {
      // The first refusal speaks for a name none of whose addresses may be dialled.
      if (result.reason == Reason::internal) {
        result.address = address;
        result.reason = judgement.reason;
        result.rule = judgement.rule;
        result.why = fmt::format("the name leads to {}", address.to_string());
      }
      continue;
    }
    if (!judged_good) result.rule = "default";
    judged_good = true;
    result.address = address;
    const TcpEndpoint to(to_asio(address), order.target.port);
    ErrorCode error;
    result.socket = Socket(io_);
    result.socket.open(to.protocol(), error);
    // Its share: one address that swallows packets must not use up the time of those that answer.
    const Clock::time_point now = Clock::now();
    const auto share = (until - now) / static_cast<int>(resolution.addresses.size() - i);
    if (!error) error = co_await connect(result.socket, to, now + share);
    if (!error) {
      result.socket.set_option(Tcp::no_delay(true), error);
      result.connected = true;
      result.why.clear();
      co_return result;
    }
    result.reason = reason_of(error);
    result.why = fmt::format("{}: {}", address.to_string(), error.message());
    if (Clock::now() >= until) break;
  }
  if (!order.target.host.is_name() && !judged_good) result.why.clear();
  co_return result;
}

}  // namespace sluice::proxy
