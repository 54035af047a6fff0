// Opens the only outbound sockets there are, and judges every address before it connects to it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "allowlists/policy.h"
#include "proxy/egress/attempt.h"
#include "proxy/egress/give_up.h"
#include "proxy/egress/happy_eyeballs.h"
#include "proxy/egress/resolver.h"
#include "proxy/egress/route_query.h"
#include "proxy/egress/way_out.h"
#include "proxy/net.h"
#include "proxy/wheel.h"

namespace sluice::proxy {

// An address and port on which a sluice of this machine listens: forbidden to every agent.
using OwnListeners = std::vector<TcpEndpoint>;

struct DialOrder {
  // A name or literal address that decide() allowed; outlives the dial.
  const allowlists::Target* target;
  const allowlists::AgentRules& rules;  // of the agent; outlive the dial
  // For all addresses together, and for what an upstream proxy takes.
  std::chrono::milliseconds connect_timeout{10'000};
  std::string_view agent;     // its name; outlives the dial
  GiveUp* give_up = nullptr;  // outlives the dial; null: nobody gives up
};

// An open connection, or why there is none.
struct Dialled {
  Socket socket;
  // The one that was connected (0.0.0.0: the upstream proxy was given a name); else the one that
  // `reason` is about: the first that failed, that was still waited for when the time was over, or
  // that was refused.
  IpAddress address;
  Reason reason = Reason::internal;   // for !connected
  std::string_view rule = "default";  // the cidr rule that refused the address
  std::string why;                    // one sentence for the audit line; may be empty
  bool connected = false;
};
// What did not come to a connection.
Dialled not_dialled(asio::io_context& io, Reason reason, std::string why);

class Dialer {
 public:
  // What holds for every dial of a thread; outlives the dialer.
  struct Terms {
    const OwnListeners& own_listeners;
    const WayOut& way_out;
    Wheel& wheel;
    std::function<bool()> make_room{};  // see Leaving
    std::chrono::milliseconds attempt_delay = connection_attempt_delay;
  };
  Dialer(asio::io_context& io, Resolver& resolver, RouteQuery& routes, Terms terms)
      : io_(io), resolver_(resolver), routes_(routes), terms_(std::move(terms)) {}

  // Resolves once and connects to the first address that answers (RFC 8305): in_turn(), a new
  // attempt each attempt_delay and at once when one fails, most_attempts at most. Each
  // is judged by the agent's rules and the kernel's routes just before its own connect(2), and
  // dialled exactly as judged; one that is refused is passed over. With an upstream proxy the same
  // holds for what it is asked to connect to; what `except` covers and what is this machine's own
  // goes out directly, and first. When this ends, is cancelled or given up, or its coroutine is
  // destroyed, all other attempts are closed. An only address has connect_timeout and up to a
  // tick of the wheel.
  Task<Dialled> dial(DialOrder order);

  // The address guard as it stands now, for `address` on behalf of `target`: the agent's rules, the
  // kernel's routes, our own listeners, the upstream proxy itself. An address that only an upstream
  // proxy knows (0.0.0.0) passes where it is given names.
  allowlists::Decision judge(const allowlists::AgentRules& rules, const allowlists::Target& target,
                             const IpAddress& address) const;

 private:
  using Time = Clock::time_point;
  struct Ways {
    std::vector<IpAddress> direct;
    std::vector<IpAddress> through_upstream;
  };
  // One that needs no wait to be known, and no upstream proxy.
  std::optional<IpAddress> only_address(const allowlists::Host& host) const;
  void count(const Dialled& dialled, Time began) const;
  Task<Dialled> dial_alone(DialOrder order, IpAddress address);
  Task<Dialled> dial_any(DialOrder order);
  Task<Dialled> find_way(const DialOrder& order);
  Task<Resolution> addresses_of(const DialOrder& order);
  Task<std::optional<Dialled>> look_up_upstream(const DialOrder& order);
  Task<Dialled> dial_directly(const DialOrder& order, std::vector<IpAddress> addresses, Time until);
  Task<Dialled> dial_upstream(const DialOrder& order, Time until);
  Task<Dialled> dial_through(const DialOrder& order, std::vector<IpAddress> addresses, Time until);
  Task<Dialled> dial_by_name(const DialOrder& order);
  Ways ways_to(const allowlists::Host& host, const std::vector<IpAddress>& addresses) const;
  Leaving leaving(const DialOrder& order) const {
    return {.by = terms_.way_out.of(order.agent), .make_room = &terms_.make_room};
  }
  bool goes_as_name(const allowlists::Host& host) const;
  bool is_own(const IpAddress& address, std::uint16_t port) const;

  asio::io_context& io_;
  Resolver& resolver_;
  RouteQuery& routes_;
  const Terms terms_;
  std::vector<IpAddress> upstream_addresses_;  // as last resolved
};

}  // namespace sluice::proxy
