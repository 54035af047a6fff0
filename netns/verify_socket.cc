// What sluiced asks the kernel about a socket before it believes that it is what its role says.
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "netns/handover.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

struct Expectation {
  int level;
  int option;
  int value;
  const char* text;  // SO_TYPE
};

Result<void> expect(Role role, int fd, const Expectation& expected) {
  int value = 0;
  socklen_t size = sizeof(value);
  if (::getsockopt(fd, expected.level, expected.option, &value, &size) != 0) {
    return fail_errno(Errc::not_permitted, fmt::format("descriptor handed as '{}': cannot read {}",
                                                       role_name(role), expected.text));
  }
  if (value == expected.value) return {};
  return fail(Errc::not_permitted,
              fmt::format("socket handed as '{}' has {} {}, not {}", role_name(role), expected.text,
                          value, expected.value));
}

// What is else dual-stack may be of IPv4 alone: on a kernel without IPv6 there is nothing else.
IpVersions versions_of(Role role, int fd) {
  int family = 0;
  socklen_t size = sizeof(family);
  const bool told = ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0;
  return told && is_dual_stack(role) && family == AF_INET ? IpVersions::v4_only : IpVersions::both;
}

std::vector<Expectation> expectations(Role role, IpVersions versions) {
  const bool tcp = role_type(role) == SOCK_STREAM;
  const bool v6 = role_family(role, versions) == AF_INET6;
  std::vector<Expectation> all{
      {SOL_SOCKET, SO_DOMAIN, role_family(role, versions), "SO_DOMAIN"},
      {SOL_SOCKET, SO_TYPE, role_type(role), "SO_TYPE"},
      // An MPTCP listener has the same family and type.
      {SOL_SOCKET, SO_PROTOCOL, tcp ? IPPROTO_TCP : IPPROTO_UDP, "SO_PROTOCOL"},
  };
  if (tcp) all.push_back({SOL_SOCKET, SO_ACCEPTCONN, 1, "SO_ACCEPTCONN"});
  if (role == Role::tproxy4) all.push_back({IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"});
  if (role == Role::tproxy6) all.push_back({IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"});
  if (v6 && is_dual_stack(role)) all.push_back({IPPROTO_IPV6, IPV6_V6ONLY, 0, "IPV6_V6ONLY"});
  if (role == Role::dns_udp) {
    all.push_back({IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"});
    if (v6) all.push_back({IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"});
  }
  return all;
}

// A connected UDP socket hears one peer only.
Result<void> expect_unconnected(Role role, int fd) {
  if (peer_endpoint(fd)) {
    return fail(Errc::not_permitted,
                fmt::format("socket handed as '{}' is connected to a peer", role_name(role)));
  }
  return {};
}

Result<std::uint64_t> netns_cookie(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return fail_errno(
        Errc::unavailable, "cannot read the network namespace of a socket",
        errno == ENOPROTOOPT ? "the kernel must be 5.14 or newer (SO_NETNS_COOKIE)" : "");
  }
  return cookie;
}

}  // namespace

Result<std::uint64_t> verify_socket(Role role, int fd) {
  const IpVersions versions = versions_of(role, fd);
  for (const Expectation& expected : expectations(role, versions)) {
    if (auto held = expect(role, fd, expected); !held) return Failure(held.error());
  }
  const auto bound = local_endpoint(fd);
  if (!bound) return Failure(bound.error());
  Endpoint wanted = role_endpoint(role, versions);
  if (role == Role::port) wanted.port = bound->port;
  if (*bound != wanted) {
    return fail(Errc::not_permitted,
                fmt::format("socket handed as '{}' is bound to {}, not to {}", role_name(role),
                            to_string(*bound), to_string(wanted)));
  }
  if (auto held = expect_unconnected(role, fd); !held) return Failure(held.error());
  return netns_cookie(fd);
}

Result<std::uint64_t> own_netns_cookie() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno(Errc::unavailable, "cannot make a socket");
  return netns_cookie(socket.get());
}

}  // namespace sluice::netns
