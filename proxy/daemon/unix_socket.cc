#include "proxy/daemon/unix_socket.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice::proxy {
namespace {

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::bad_config, fmt::format("the socket path '{}' is too long", path),
                "unix(7) allows 107 bytes");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

}  // namespace

Result<Fd> connect_unix(const std::string& path, int type, std::chrono::seconds patience) {
  const auto address = address_of(path);
  if (!address) return Failure(address.error());
  Fd connection(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!connection) return fail_errno(Errc::unavailable, "socket");
  const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
  for (const int way : {SO_SNDTIMEO, SO_RCVTIMEO}) {
    if (::setsockopt(connection.get(), SOL_SOCKET, way, &limit, sizeof limit) != 0)
      return fail_errno(Errc::unavailable, "cannot limit a wait");
  }
  if (::connect(connection.get(), as_sockaddr(*address), sizeof *address) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("no sluiced answers at '{}'", path));
  }
  return connection;
}

Result<Fd> listen_unix(const std::string& path, int type, mode_t mode) {
  const auto found = address_of(path);
  if (!found) return Failure(found.error());
  const sockaddr_un& address = *found;
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      return fail(Errc::bad_config, fmt::format("'{}' exists and is no socket", path),
                  "name another path");
    }
    const Fd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    if (!probe) return fail_errno(Errc::unavailable, "socket");
    if (::connect(probe.get(), as_sockaddr(address), sizeof address) == 0) {
      return fail(Errc::unavailable, fmt::format("another sluiced answers at '{}'", path),
                  "stop it first, or name another path");
    }
    if (errno != ECONNREFUSED)
      return fail_errno(Errc::unavailable, fmt::format("cannot ask '{}'", path));
    ::unlink(path.c_str());
  }
  Fd listener(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno(Errc::unavailable, "socket");
  if (::bind(listener.get(), as_sockaddr(address), sizeof address) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot bind '{}'", path),
                      "the directory must exist and be writable");
  }
  if (::chmod(path.c_str(), mode) != 0)
    return fail_errno(Errc::unavailable, fmt::format("chmod '{}'", path));
  if (::listen(listener.get(), SOMAXCONN) != 0) return fail_errno(Errc::unavailable, "listen");
  return listener;
}

}  // namespace sluice::proxy
