#include "proxy/egress/attempt.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/error.hpp>
#include <cerrno>
#include <optional>

namespace sluice::proxy {
namespace {

ErrorCode last_error() noexcept { return {errno, boost::system::system_category()}; }

bool set_option(Socket& socket, int level, int name, int value) noexcept {
  return ::setsockopt(socket.native_handle(), level, name, &value, sizeof value) == 0;
}

// Gives an open socket its mark and its source address. A sentence: it may not leave.
std::optional<std::string> prepare(Socket& socket, const Config::Egress& leaving, bool to_v4) {
  if (leaving.mark && !set_option(socket, SOL_SOCKET, SO_MARK, static_cast<int>(*leaving.mark))) {
    return fmt::format("cannot set the mark {:#x}: {}", *leaving.mark, last_error().message());
  }
  if (!leaving.source_v4 && !leaving.source_v6) return {};
  const auto& source = to_v4 ? leaving.source_v4 : leaving.source_v6;
  if (!source) {
    return fmt::format("this agent's 'egress' has no {} source", to_v4 ? "IPv4" : "IPv6");
  }
  // The port is chosen by connect(2), so that two connections to different places may share it.
  set_option(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  ErrorCode error;
  socket.bind(TcpEndpoint(to_asio(*source), 0), error);
  if (!error) return {};
  return fmt::format("cannot leave from {}: {}", source->to_string(), error.message());
}

ErrorCode open(Socket& socket, const Tcp& protocol, const Leaving& leaving) {
  ErrorCode error;
  socket.open(protocol, error);
  const bool is_full = error == asio::error::no_descriptors;
  if (is_full && leaving.make_room != nullptr && *leaving.make_room && (*leaving.make_room)()) {
    socket.open(protocol, error);
  }
  // Asio's first wait would do the same, behind connect(2).
  if (!error) socket.native_non_blocking(true, error);
  return error;
}

// A socket whose connect(2) is under way has no peer yet (ENOTCONN).
bool has_peer(Socket& socket) noexcept {
  sockaddr_storage peer;
  socklen_t size = sizeof peer;
  return ::getpeername(socket.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size) == 0;
}

}  // namespace

Connecting begin_to_connect(Socket& socket, const TcpEndpoint& to, const Leaving& leaving) {
  Connecting begun;
  begun.error = open(socket, to.protocol(), leaving);
  if (begun.error) return begun;
  if (leaving.by != nullptr) {
    if (auto why = prepare(socket, *leaving.by, to.address().is_v4())) {
      begun.unsent = std::move(*why);
      return begun;
    }
  }
  begun.stands =
      ::connect(socket.native_handle(), to.data(), static_cast<socklen_t>(to.size())) == 0;
  if (begun.stands) return begun;
  if (errno != EINPROGRESS) {
    begun.error = last_error();
  } else if (to.address().is_loopback()) {
    // The whole handshake was within the call.
    begun.stands = has_peer(socket);
  }
  return begun;
}

Connecting settle(Socket& socket) noexcept {
  Connecting settled{.stands = has_peer(socket)};
  if (settled.stands) return settled;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size);
  settled.error.assign(error, boost::system::system_category());
  return settled;
}

}  // namespace sluice::proxy
