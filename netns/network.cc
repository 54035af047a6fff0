#include "netns/network.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "base/io.h"
#include "netns/capture.h"
#include "netns/namespace.h"
#include "netns/routes.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

using Clock = std::chrono::steady_clock;

// On loopback the answer takes microseconds; this is for a machine that is very busy.
constexpr std::chrono::milliseconds probe_patience{5000};

// RFC 5737 and RFC 3849: addresses of documentation, which are nobody's.
constexpr IpAddress probe4 = IpAddress::v4(0xcb007101);
constexpr IpAddress probe6 =
    IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
constexpr std::uint16_t probe_port = 443;

// Closing then sends a reset: no TIME_WAIT stays behind in the agent's namespace.
void reset_on_close(const Fd& socket) {
  const linger now{1, 0};
  static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
}

Failure not_captured(const Endpoint& destination, std::string_view why) {
  return fail(Errc::unavailable, fmt::format("a connection to {} {}", to_string(destination), why),
              "other rules in this network namespace are in the way: use a fresh one, or run "
              "sluice doctor");
}

enum class Event : std::uint8_t { arrival, refusal, nothing };

// What happens first: a connection on the listener, or an end of the client's attempt.
Result<Event> wait_for_event(int listener, int client, Clock::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    std::array<pollfd, 2> both{{{listener, POLLIN, 0}, {client, 0, 0}}};
    const int timeout = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
    const int ready = ::poll(both.data(), both.size(), timeout);
    if (ready == 0) return Event::nothing;
    if (ready > 0) return both[0].revents != 0 ? Event::arrival : Event::refusal;
    if (errno != EINTR) return fail_errno(Errc::unavailable, "cannot wait for a connection");
  }
}

Result<Fd> start_connect(const Endpoint& destination) {
  const SocketAddress address = to_socket_address(destination);
  Fd client(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!client) return fail_errno(Errc::unavailable, "cannot make a socket");
  reset_on_close(client);
  if (::connect(client.get(), address.get(), address.size) != 0 && errno != EINPROGRESS) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot connect to {}", to_string(destination)));
  }
  return client;
}

struct Probe {
  Fd client;
  Endpoint source;
  Endpoint destination;
};

// An IPv4 address as a dual-stack socket spells it (RFC 4291 2.5.5.2) is an IPv4 address.
Endpoint plain(const Endpoint& endpoint) {
  constexpr Cidr mapped{IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}), 96};
  if (!mapped.contains(endpoint.address)) return endpoint;
  std::uint32_t value = 0;
  for (std::size_t i = 12; i < 16; ++i) value = value << 8 | endpoint.address.bytes()[i];
  return {IpAddress::v4(value), endpoint.port};
}

// Nothing when the connection is not the probe's own.
Result<std::optional<Endpoint>> accept_probe(int listener, const Endpoint& source) {
  const Fd accepted(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!accepted) {
    if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) return std::nullopt;
    return fail_errno(Errc::unavailable, "cannot accept a connection");
  }
  reset_on_close(accepted);
  const auto peer = peer_endpoint(accepted.get());
  if (!peer || plain(*peer) != source) return std::nullopt;
  return local_endpoint(accepted.get()).map([](const Endpoint& local) {
    return std::optional(plain(local));
  });
}

// Takes connections until it has the probe's: where processes of the agent already run, theirs may
// stand before it. They are reset, like all that came before the policy was there.
Result<void> await_probe(int listener, const Probe& probe) {
  const auto deadline = Clock::now() + probe_patience;
  do {
    const auto event = wait_for_event(listener, probe.client.get(), deadline);
    if (!event) return Failure(event.error());
    if (*event == Event::refusal) return not_captured(probe.destination, "was refused");
    if (*event == Event::nothing) break;
    const auto arrived = accept_probe(listener, probe.source);
    if (!arrived) return Failure(arrived.error());
    if (*arrived == probe.destination) return {};
    if (*arrived) {
      return not_captured(probe.destination,
                          fmt::format("arrived as one to {}", to_string(**arrived)));
    }
  } while (Clock::now() < deadline);
  return not_captured(probe.destination, "did not arrive at the listener");
}

Result<void> prove_capture(int listener, const Endpoint& destination) {
  auto client = start_connect(destination);
  if (!client) return Failure(client.error());
  const auto source = local_endpoint(client->get());
  if (!source) return Failure(source.error());
  return await_probe(listener, Probe{std::move(*client), *source, destination});
}

// Without rules the route can be proved: by DNS, which listens on every address.
Result<void> prove_routes(int dns_tcp, IpVersions versions) {
  const std::uint16_t port = role_endpoint(Role::dns_tcp).port;
  auto proved = prove_capture(dns_tcp, {probe4, port});
  if (!proved || versions == IpVersions::v4_only) return proved;
  return prove_capture(dns_tcp, {probe6, port});
}

Result<void> prove(const std::vector<RoleSocket>& sockets) {
  const bool captured = is_captured(sockets);
  for (const RoleSocket& socket : sockets) {
    Result<void> proved;
    if (is_tproxy(socket.role)) {
      proved = prove_capture(socket.fd.get(),
                             {socket.role == Role::tproxy4 ? probe4 : probe6, probe_port});
    } else if (!captured && socket.role == Role::dns_tcp) {
      proved = prove_routes(socket.fd.get(), ip_versions());
    }
    if (!proved) return proved;
  }
  return {};
}

Result<void> load_rules_if_possible() {
  return has_nf_tables().and_then(
      [](bool possible) { return possible ? load_capture_rules() : Result<void>(); });
}

}  // namespace

Result<void> prove_agent_network(const std::vector<RoleSocket>& sockets) { return prove(sockets); }

Result<std::vector<RoleSocket>> build_agent_network() {
  const auto links = list_links();
  if (!links) return Failure(links.error());
  auto built = require_no_way_out(*links)
                   .and_then(load_rules_if_possible)
                   .and_then(route_everything_to_loopback);
  if (!built) return Failure(built.error());
  // A convenience for the agent's own servers; /proc/sys is read-only in many containers.
  static_cast<void>(write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"));
  auto sockets = open_listeners();
  if (!sockets) return sockets;
  if (auto proved = prove(*sockets); !proved) return Failure(proved.error());
  return sockets;
}

bool is_captured(const std::vector<RoleSocket>& sockets) {
  return std::any_of(sockets.begin(), sockets.end(),
                     [](const RoleSocket& socket) { return socket.role == Role::tproxy4; });
}

}  // namespace sluice::netns
