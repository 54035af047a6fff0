#include "launcher/admin_socket.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace sluice::launcher {
namespace {

constexpr int backlog = 16;

// In /tmp somebody else may have been here first.
Result<Fd> open_own_directory(const std::string& directory, mode_t mode) {
  ::mkdir(directory.c_str(), mode);
  Fd opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!opened || ::fstat(opened.get(), &status) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot use '{}'", directory),
                      "set XDG_RUNTIME_DIR to a directory of your own");
  }
  if (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0) {
    return fail(Errc::not_permitted, fmt::format("'{}' is writable for somebody else", directory),
                "set XDG_RUNTIME_DIR to a directory of your own");
  }
  return opened;
}

// Whoever could replace the upper directory could replace the lower one.
Result<Fd> open_private_directory(const std::string& directory) {
  const auto upper =
      open_own_directory(std::filesystem::path(directory).parent_path().string(), 0755);
  if (!upper) return Failure(upper.error());
  auto opened = open_own_directory(directory, 0700);
  if (opened && ::fchmod(opened->get(), 0700) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot close '{}' to others", directory));
  }
  return opened;
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return fail(Errc::bad_config, fmt::format("'{}' is too long for a socket's path", path),
                "choose a shorter --agent name, or set XDG_RUNTIME_DIR to a shorter path");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<Fd> new_socket() {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(Errc::unavailable, "socket");
  return socket;
}

bool somebody_listens(const sockaddr_un& address) {
  const auto probe = new_socket();
  if (!probe) return true;
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(probe->get(), to, sizeof(address)) == 0 || errno == EAGAIN;
}

}  // namespace

Result<AdminSocket> AdminSocket::listen(const std::string& directory, const std::string& agent) {
  const auto lock = open_private_directory(directory);
  if (!lock) return Failure(lock.error());
  // Between two runs of one name, so that neither removes what the other has just bound.
  if (::flock(lock->get(), LOCK_EX) != 0) return fail_errno(Errc::unavailable, "flock");
  const std::string path = fmt::format("{}/{}.sock", directory, agent);
  const auto address = address_of(path);
  if (!address) return Failure(address.error());
  if (somebody_listens(*address)) {
    return fail(Errc::unavailable, fmt::format("the agent name '{}' is taken", agent),
                "it runs already: stop it, or give this one another name with --agent");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail_errno(Errc::unavailable, fmt::format("cannot remove '{}'", path));
  }
  auto socket = new_socket();
  if (!socket) return Failure(socket.error());
  const auto* const own = reinterpret_cast<const sockaddr*>(&*address);
  if (::bind(socket->get(), own, sizeof(*address)) != 0 || ::listen(socket->get(), backlog) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot listen on '{}'", path));
  }
  return AdminSocket(path, std::move(*socket));
}

AdminSocket::AdminSocket(AdminSocket&& other) noexcept
    : path_(std::exchange(other.path_, {})), socket_(std::move(other.socket_)) {}

AdminSocket::~AdminSocket() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace sluice::launcher
