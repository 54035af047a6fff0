// Opens the only outbound sockets there are, and judges every address before it connects to it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "allowlists/policy.h"
#include "proxy/egress/resolver.h"
#include "proxy/egress/route_query.h"
#include "proxy/net.h"

namespace sluice::proxy {

// An address and port on which a sluice of this machine listens: forbidden to every agent.
using OwnListeners = std::vector<TcpEndpoint>;

struct DialOrder {
  allowlists::Target target;            // a name, or a literal address that decide() allowed
  const allowlists::AgentRules& rules;  // of the agent; outlive the dial
  std::chrono::milliseconds connect_timeout{10'000};  // for all addresses together
};

// An open connection, or why there is none.
struct Dialled {
  Socket socket;
  // The one that was connected; else the one that `reason` is about: the first that failed, that
  // was still waited for when the time was over, or that was refused.
  IpAddress address;
  Reason reason = Reason::internal;   // for !connected
  std::string_view rule = "default";  // the cidr rule that refused the address
  std::string why;                    // one sentence for the audit line; may be empty
  bool connected = false;
};

class Dialer {
 public:
  Dialer(asio::io_context& io, Resolver& resolver, RouteQuery& routes, const OwnListeners& own)
      : io_(io), resolver_(resolver), routes_(routes), own_(own) {}

  // Resolves once and connects to the first address that answers (RFC 8305): in_turn(), a new
  // attempt each connection_attempt_delay and at once when one fails, most_attempts at most. Each
  // is judged by the agent's rules and the kernel's routes just before its own connect(2), and
  // dialled exactly as judged; one that is refused is passed over. When this ends, is cancelled or
  // its coroutine is destroyed, all other attempts are closed.
  Task<Dialled> dial(DialOrder order);

  // The address guard as it stands now, for `address` on behalf of `target`: the agent's rules, the
  // kernel's routes, our own listeners.
  allowlists::Decision judge(const allowlists::AgentRules& rules, const allowlists::Target& target,
                             const IpAddress& address) const;

 private:
  Task<Resolution> addresses_of(const allowlists::Host& host);

  asio::io_context& io_;
  Resolver& resolver_;
  RouteQuery& routes_;
  const OwnListeners& own_;
};

}  // namespace sluice::proxy
