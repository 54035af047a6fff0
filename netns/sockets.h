// The listeners made inside an agent's namespace: an address for each role, and the sockets bound
// to it.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip_address.h"
#include "netns/handover.h"

namespace sluice::netns {

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};
// "127.0.0.1:3128", "[::1]:15001"
std::string to_string(const Endpoint& endpoint);

// The kernel's form of an endpoint and back.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};
SocketAddress to_socket_address(const Endpoint& endpoint);
// getsockname(2); an address that is neither IPv4 nor IPv6 is an error.
Result<Endpoint> local_endpoint(int fd);
// getpeername(2)
Result<Endpoint> peer_endpoint(int fd);

// Which IP versions a kernel has (CONFIG_IPV6, ipv6.disable=1).
enum class IpVersions : std::uint8_t { v4_only, both };
// As this process finds it.
IpVersions ip_versions();

// What a socket of this role is: address (port 0: any), family, type. With IPv4 alone those that
// are else dual-stack are bound to 0.0.0.0.
Endpoint role_endpoint(Role role, IpVersions versions = IpVersions::both) noexcept;
int role_family(Role role, IpVersions versions = IpVersions::both) noexcept;
int role_type(Role role) noexcept;
constexpr bool is_tproxy(Role role) noexcept {
  return role == Role::tproxy4 || role == Role::tproxy6;
}
constexpr bool is_dns(Role role) noexcept { return role == Role::dns_udp || role == Role::dns_tcp; }
constexpr bool is_dual_stack(Role role) noexcept { return is_dns(role) || role == Role::port; }

// The listeners of an agent's network, in the calling thread's namespace, non-blocking,
// close-on-exec, listening: one of each role but `port`. Without IPv6 there is no tproxy6, and
// where the capture rules are not loaded (no nf_tables) neither is tproxy4. Needs CAP_NET_ADMIN
// (transparency) and CAP_NET_BIND_SERVICE (port 53) over the namespace. May be called again once
// every holder of the earlier ones has closed them.
Result<std::vector<RoleSocket>> open_listeners();

// A `port` listener for each port, for the networks without capture rules. The ports of the other
// listeners (53 and 3128) are passed over: there is a way through those already.
Result<std::vector<RoleSocket>> open_port_listeners(const std::vector<std::uint16_t>& ports);

}  // namespace sluice::netns
