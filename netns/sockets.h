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

// What a socket of this role is: address, family, type.
Endpoint role_endpoint(Role role) noexcept;
int role_family(Role role) noexcept;
int role_type(Role role) noexcept;
constexpr bool is_tproxy(Role role) noexcept {
  return role == Role::tproxy4 || role == Role::tproxy6;
}
constexpr bool is_dns(Role role) noexcept { return role == Role::dns_udp || role == Role::dns_tcp; }

// One socket of each role in the calling thread's network namespace, non-blocking, close-on-exec,
// listening. Needs CAP_NET_ADMIN (transparency) and CAP_NET_BIND_SERVICE (port 53) over the
// namespace. May be called again once every holder of the earlier ones has closed them.
Result<std::vector<RoleSocket>> open_listeners();

}  // namespace sluice::netns
