#include "proxy/daemon/socket_set.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <optional>

namespace sluice::proxy {
namespace {

using netns::Role;

// By Role, `port` included.
using Counts = std::array<std::size_t, netns::role_count + 1>;

// The port is in the same place in a sockaddr_in.
std::uint16_t port_of(int socket) noexcept {
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin6_port);
}

Result<void> add_port(std::uint16_t port, std::vector<std::uint16_t>& ports) {
  const auto at = std::lower_bound(ports.begin(), ports.end(), port);
  if (at != ports.end() && *at == port) {
    return fail(Errc::not_permitted, fmt::format("port {} has a listener twice", port));
  }
  if (ports.size() == netns::max_ports) {
    return fail(Errc::not_permitted,
                fmt::format("an agent may have at most {} listeners of ports", netns::max_ports),
                "a kernel with nf_tables needs none");
  }
  ports.insert(at, port);
  return {};
}

bool is_whole(const Counts& counts) noexcept {
  const auto count = [&](Role role) { return counts[static_cast<std::size_t>(role)]; };
  if (count(Role::dns_udp) != 1 || count(Role::dns_tcp) != 1 || count(Role::proxy) != 1) {
    return false;
  }
  if (count(Role::tproxy4) == 0) return count(Role::tproxy6) == 0;
  return count(Role::tproxy4) == 1 && count(Role::tproxy6) <= 1 && count(Role::port) == 0;
}

}  // namespace

Result<SocketSet> check_network(const std::vector<netns::RoleSocket>& sockets) {
  SocketSet set;
  Counts counts{};
  std::optional<std::uint64_t> cookie;
  for (const netns::RoleSocket& socket : sockets) {
    const auto own = netns::verify_socket(socket.role, socket.fd.get());
    if (!own) return Failure(own.error());
    if (cookie.value_or(*own) != *own) {
      return fail(Errc::not_permitted, "the sockets are of different network namespaces");
    }
    cookie = *own;
    ++counts[static_cast<std::size_t>(socket.role)];
    if (socket.role != Role::port) continue;
    if (auto added = add_port(port_of(socket.fd.get()), set.ports); !added) {
      return Failure(added.error());
    }
  }
  if (!is_whole(counts)) {
    return fail(Errc::not_permitted, "not exactly one socket of every role",
                "without tproxy6 where there is no IPv6; with neither tproxy4 nor tproxy6, but one "
                "'port' for each port, where there is no nf_tables");
  }
  const auto ours = netns::own_netns_cookie();
  if (!ours) return Failure(ours.error());
  if (*cookie == *ours) {
    return fail(Errc::not_permitted, "the sockets are of sluiced's own network namespace");
  }
  set.netns_cookie = *cookie;
  set.has_capture = counts[static_cast<std::size_t>(Role::tproxy4)] == 1;
  return set;
}

Result<std::vector<std::uint16_t>> check_more_ports(const SocketSet& of,
                                                    const std::vector<netns::RoleSocket>& sockets) {
  if (of.has_capture) {
    return fail(Errc::not_permitted, "this agent's network captures every port already");
  }
  std::vector<std::uint16_t> all = of.ports;
  for (const netns::RoleSocket& socket : sockets) {
    if (socket.role != Role::port) {
      return fail(Errc::not_permitted, "only listeners of ports can be added",
                  "the others come with the registration");
    }
    const auto cookie = netns::verify_socket(socket.role, socket.fd.get());
    if (!cookie) return Failure(cookie.error());
    if (*cookie != of.netns_cookie) {
      return fail(Errc::not_permitted, "the sockets are of another network namespace");
    }
    if (auto added = add_port(port_of(socket.fd.get()), all); !added) {
      return Failure(added.error());
    }
  }
  return all;
}

}  // namespace sluice::proxy
