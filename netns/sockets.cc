#include "netns/sockets.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

namespace sluice::netns {
namespace {

// The kernel caps it at net.core.somaxconn, whose default is the same.
constexpr int backlog = 4096;

constexpr IpAddress any6 = IpAddress::v6({});
constexpr IpAddress loopback6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

struct Option {
  int level;
  int name;
  int value;
  const char* text;
};

Result<void> set_option(const Fd& socket, Role role, const Option& option) {
  if (::setsockopt(socket.get(), option.level, option.name, &option.value, sizeof(option.value)) ==
      0) {
    return {};
  }
  return fail_errno(errno == EPERM ? Errc::not_permitted : Errc::unavailable,
                    fmt::format("cannot set {} on the '{}' socket", option.text, role_name(role)));
}

std::vector<Option> role_options(Role role) {
  std::vector<Option> options;
  // Not for UDP: there it would let the agent bind port 53 beside us and take the questions.
  if (role_type(role) == SOCK_STREAM)
    options.push_back({SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"});
  // Accepted sockets inherit it. Answers are written in parts, and Nagle's algorithm would keep the
  // last of them back until a delayed ACK: 40 ms.
  if (role_type(role) == SOCK_STREAM)
    options.push_back({IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"});
  if (role == Role::tproxy4) options.push_back({IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"});
  if (role_family(role) == AF_INET6) {
    options.push_back({IPPROTO_IPV6, IPV6_V6ONLY, is_dns(role) ? 0 : 1, "IPV6_V6ONLY"});
  }
  if (role == Role::tproxy6) {
    options.push_back({IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"});
  }
  if (role == Role::dns_udp) {
    // The reply must come from the address that was asked, which no link has.
    options.push_back({IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"});
    options.push_back({IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"});
    options.push_back({IPPROTO_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND"});
  }
  return options;
}

Result<Fd> open_listener(Role role) {
  Fd socket(::socket(role_family(role), role_type(role) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot make the '{}' socket", role_name(role)),
                      errno == EAFNOSUPPORT
                          ? "the kernel must have IPv6: CONFIG_IPV6, and no ipv6.disable=1 at boot"
                          : "");
  }
  for (const Option& option : role_options(role)) {
    if (auto set = set_option(socket, role, option); !set) return Failure(set.error());
  }
  const Endpoint endpoint = role_endpoint(role);
  const SocketAddress address = to_socket_address(endpoint);
  if (::bind(socket.get(), address.get(), address.size) != 0) {
    return fail_errno(
        Errc::unavailable,
        fmt::format("cannot bind the '{}' socket to {}", role_name(role), to_string(endpoint)),
        errno == EADDRINUSE ? "end the program in this network namespace that holds the port" : "");
  }
  if (role_type(role) == SOCK_STREAM && ::listen(socket.get(), backlog) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot listen on {}", to_string(endpoint)));
  }
  return socket;
}

Result<Endpoint> from_socket_address(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof(in));
    return Endpoint{IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof(in));
    IpAddress::Bytes bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return Endpoint{IpAddress::v6(bytes), ntohs(in.sin6_port)};
  }
  return fail(Errc::not_permitted,
              fmt::format("socket of address family {} is not an IP socket", storage.ss_family));
}

}  // namespace

std::string to_string(const Endpoint& endpoint) {
  return endpoint.address.is_v4()
             ? fmt::format("{}:{}", endpoint.address.to_string(), endpoint.port)
             : fmt::format("[{}]:{}", endpoint.address.to_string(), endpoint.port);
}

SocketAddress to_socket_address(const Endpoint& endpoint) {
  SocketAddress address;
  if (endpoint.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = htonl(endpoint.address.v4_value());
    std::memcpy(&address.storage, &in, sizeof(in));
    address.size = sizeof(in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    std::memcpy(&in.sin6_addr, endpoint.address.bytes().data(), sizeof(in.sin6_addr));
    std::memcpy(&address.storage, &in, sizeof(in));
    address.size = sizeof(in);
  }
  return address;
}

Result<Endpoint> local_endpoint(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return fail_errno(Errc::unavailable, "cannot read a socket's own address");
  }
  return from_socket_address(storage);
}

Result<Endpoint> peer_endpoint(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return fail_errno(Errc::unavailable, "cannot read a socket's peer address");
  }
  return from_socket_address(storage);
}

Endpoint role_endpoint(Role role) noexcept {
  switch (role) {
    case Role::tproxy4:
      return {IpAddress::v4(0x7f7f7f7f), 15001};
    case Role::tproxy6:
      return {loopback6, 15001};
    case Role::dns_udp:
    case Role::dns_tcp:
      return {any6, 53};
    case Role::proxy:
      break;
  }
  return {IpAddress::v4(0x7f000001), 3128};
}

int role_family(Role role) noexcept {
  return role_endpoint(role).address.is_v4() ? AF_INET : AF_INET6;
}

int role_type(Role role) noexcept { return role == Role::dns_udp ? SOCK_DGRAM : SOCK_STREAM; }

Result<std::vector<RoleSocket>> open_listeners() {
  std::vector<RoleSocket> sockets;
  for (const Role role :
       {Role::tproxy4, Role::tproxy6, Role::dns_udp, Role::dns_tcp, Role::proxy}) {
    auto socket = open_listener(role);
    if (!socket) return Failure(socket.error());
    sockets.push_back({role, std::move(*socket)});
  }
  return sockets;
}

}  // namespace sluice::netns
