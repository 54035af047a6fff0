#include "netns/sockets.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "netns/capture.h"

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

std::vector<Option> role_options(Role role, IpVersions versions) {
  const bool v6 = role_family(role, versions) == AF_INET6;
  std::vector<Option> options;
  // Not for UDP: there it would let the agent bind port 53 beside us and take the questions.
  if (role_type(role) == SOCK_STREAM)
    options.push_back({SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"});
  // Accepted sockets inherit it. Answers are written in parts, and Nagle's algorithm would keep the
  // last of them back until a delayed ACK: 40 ms.
  if (role_type(role) == SOCK_STREAM)
    options.push_back({IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"});
  if (role == Role::tproxy4) options.push_back({IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"});
  if (v6) {
    options.push_back({IPPROTO_IPV6, IPV6_V6ONLY, is_dual_stack(role) ? 0 : 1, "IPV6_V6ONLY"});
  }
  if (role == Role::tproxy6) {
    options.push_back({IPPROTO_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT"});
  }
  if (role == Role::dns_udp) {
    // The reply must come from the address that was asked, which no link has.
    options.push_back({IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"});
    if (v6) options.push_back({IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"});
    if (v6) options.push_back({IPPROTO_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND"});
  }
  return options;
}

struct Listening {
  Role role;
  IpVersions versions;
  Endpoint endpoint;
};

Result<Fd> make_socket(const Listening& listening) {
  const Role role = listening.role;
  Fd socket(::socket(role_family(role, listening.versions),
                     role_type(role) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot make the '{}' socket", role_name(role)));
  }
  for (const Option& option : role_options(role, listening.versions)) {
    if (auto set = set_option(socket, role, option); !set) return Failure(set.error());
  }
  return socket;
}

Result<Fd> open_listener(const Listening& listening) {
  auto socket = make_socket(listening);
  if (!socket) return socket;
  const SocketAddress address = to_socket_address(listening.endpoint);
  const std::string where = to_string(listening.endpoint);
  if (::bind(socket->get(), address.get(), address.size) != 0) {
    return fail_errno(
        Errc::unavailable,
        fmt::format("cannot bind the '{}' socket to {}", role_name(listening.role), where),
        errno == EADDRINUSE ? "end the program in this network namespace that holds the port" : "");
  }
  if (role_type(listening.role) == SOCK_STREAM && ::listen(socket->get(), backlog) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot listen on {}", where));
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

IpVersions ip_versions() {
  const Fd socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return !socket && errno == EAFNOSUPPORT ? IpVersions::v4_only : IpVersions::both;
}

Endpoint role_endpoint(Role role, IpVersions versions) noexcept {
  const IpAddress any = versions == IpVersions::both ? any6 : IpAddress{};
  switch (role) {
    case Role::tproxy4:
      return {IpAddress::v4(0x7f7f7f7f), 15001};
    case Role::tproxy6:
      return {loopback6, 15001};
    case Role::dns_udp:
    case Role::dns_tcp:
      return {any, 53};
    case Role::port:
      return {any, 0};
    case Role::proxy:
      break;
  }
  return {IpAddress::v4(0x7f000001), 3128};
}

int role_family(Role role, IpVersions versions) noexcept {
  return role_endpoint(role, versions).address.is_v4() ? AF_INET : AF_INET6;
}

int role_type(Role role) noexcept { return role == Role::dns_udp ? SOCK_DGRAM : SOCK_STREAM; }

Result<std::vector<RoleSocket>> open_listeners() {
  const IpVersions versions = ip_versions();
  const auto captured = has_capture_rules();
  if (!captured) return Failure(captured.error());
  std::vector<RoleSocket> sockets;
  for (const Role role :
       {Role::tproxy4, Role::tproxy6, Role::dns_udp, Role::dns_tcp, Role::proxy}) {
    if (is_tproxy(role) && !*captured) continue;
    if (role == Role::tproxy6 && versions == IpVersions::v4_only) continue;
    auto socket = open_listener({role, versions, role_endpoint(role, versions)});
    if (!socket) return Failure(socket.error());
    sockets.push_back({role, std::move(*socket)});
  }
  return sockets;
}

Result<std::vector<RoleSocket>> open_port_listeners(const std::vector<std::uint16_t>& ports) {
  const IpVersions versions = ip_versions();
  std::vector<RoleSocket> sockets;
  for (const std::uint16_t port : ports) {
    if (port == role_endpoint(Role::dns_tcp).port || port == role_endpoint(Role::proxy).port) {
      continue;
    }
    Endpoint endpoint = role_endpoint(Role::port, versions);
    endpoint.port = port;
    auto socket = open_listener({Role::port, versions, endpoint});
    if (!socket) return Failure(socket.error());
    sockets.push_back({Role::port, std::move(*socket)});
  }
  return sockets;
}

}  // namespace sluice::netns
