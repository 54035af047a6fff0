#include "proxy/daemon/activation.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "proxy/daemon/take_over.h"
#include "proxy/net.h"

namespace sluice::proxy {
namespace {

constexpr int first_fd = 3;  // SD_LISTEN_FDS_START, sd_listen_fds(3)
constexpr int most_fds = 1024;

int number(const char* name) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return -1;
  int value = -1;
  const char* const end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, value);
  return read.ec == std::errc() && read.ptr == end ? value : -1;
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

std::string local_path(int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return {address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path)};
}

std::string internet_address(int fd) {
  TcpEndpoint at;
  auto length = static_cast<socklen_t>(at.capacity());
  ::getsockname(fd, at.data(), &length);
  return Inheritance::address_text(from_asio(at.address()), at.port());
}

}  // namespace

Result<Activation::Listening> Activation::describe(Fd fd) {
  const int family = option(fd.get(), SOL_SOCKET, SO_DOMAIN);
  const int type = option(fd.get(), SOL_SOCKET, SO_TYPE);
  const bool is_local = family == AF_UNIX && (type == SOCK_STREAM || type == SOCK_SEQPACKET);
  const bool is_tcp = (family == AF_INET || family == AF_INET6) && type == SOCK_STREAM;
  if ((!is_local && !is_tcp) || option(fd.get(), SOL_SOCKET, SO_ACCEPTCONN) != 1) {
    return fail(Errc::bad_config,
                fmt::format("descriptor {} of LISTEN_FDS is no listening socket that sluiced can "
                            "serve",
                            fd.get()),
                "give it ListenStream= for TCP and the admin socket, ListenSequentialPacket= for "
                "the handover socket");
  }
  std::string address = is_local ? local_path(fd.get()) : internet_address(fd.get());
  if (family == AF_INET6 && option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY) != 1) {
    return fail(Errc::bad_config,
                fmt::format("the service manager's socket at {} takes IPv4 callers too", address),
                "write BindIPv6Only=ipv6-only into its .socket unit, and a line for IPv4");
  }
  const int one = 1;
  // As in listen_on().
  if (is_tcp) ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return Listening{type, std::move(address), std::move(fd)};
}

Result<Activation> Activation::take() {
  Activation all;
  const bool is_ours = number("LISTEN_PID") == ::getpid();
  const int count = is_ours ? number("LISTEN_FDS") : 0;
  for (const char* const name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  if (count < 0 || count > most_fds) {
    return fail(Errc::bad_config, "LISTEN_FDS is no number of descriptors",
                "leave it to the service manager");
  }
  for (int fd = first_fd; fd < first_fd + count; ++fd) {
    Fd given(fd);
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || ::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
      return fail_errno(Errc::bad_config, fmt::format("descriptor {} of LISTEN_FDS", fd),
                        "leave it to the service manager");
    }
    auto listening = describe(std::move(given));
    if (!listening) return Failure(listening.error());
    all.listening_.push_back(std::move(*listening));
  }
  return all;
}

Fd Activation::socket(int type, const std::string& address) noexcept {
  for (Listening& one : listening_) {
    if (one.fd && one.type == type && one.address == address) return std::move(one.fd);
  }
  return {};
}

Result<void> Activation::require_all_used() const {
  for (const Listening& one : listening_) {
    if (!one.fd) continue;
    return fail(Errc::bad_config,
                fmt::format("the service manager listens at '{}' for sluiced, whose configuration "
                            "has no such place",
                            one.address),
                "make the .socket unit and sluiced's configuration name the same addresses");
  }
  return {};
}

}  // namespace sluice::proxy
