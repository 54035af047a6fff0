#include "launcher/sessions/run_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr int backlog = 16;
constexpr timeval socket_patience{5, 0};

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

// In /tmp somebody else may have been here first.
Result<Fd> open_own_directory(const std::string& directory) {
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
  const auto upper = open_own_directory(std::filesystem::path(directory).parent_path().string());
  if (!upper) return Failure(upper.error());
  return open_own_directory(directory);
}

Result<Fd> make_private_directory(const std::string& directory) {
  ::mkdir(std::filesystem::path(directory).parent_path().c_str(), 0755);
  ::mkdir(directory.c_str(), 0700);
  auto opened = open_private_directory(directory);
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

bool somebody_listens(const sockaddr_un& address) {
  const auto probe = open_stream_socket(SOCK_NONBLOCK);
  if (!probe) return true;
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(probe->get(), to, sizeof(address)) == 0 || errno == EAGAIN;
}

Result<void> remove_socket(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return fail_errno(Errc::unavailable, fmt::format("cannot remove '{}'", path));
}

// Between two runs of one name, so that neither removes what the other has just bound.
Result<void> lock(int directory) {
  if (::flock(directory, LOCK_EX) != 0) return fail_errno(Errc::unavailable, "flock");
  return {};
}

}  // namespace

std::string run_socket_path(const std::string& directory, const std::string& agent,
                            std::string_view suffix) {
  return fmt::format("{}/{}{}", directory, agent, suffix);
}

Result<RunSocket> RunSocket::listen(const std::string& directory, const std::string& agent,
                                    std::string_view suffix, std::chrono::milliseconds patience) {
  const auto opened = make_private_directory(directory);
  if (!opened) return Failure(opened.error());
  const std::string path = run_socket_path(directory, agent, suffix);
  const auto address = address_of(path);
  if (!address) return Failure(address.error());
  const auto until = std::chrono::steady_clock::now() + patience;
  while (somebody_listens(*address) && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(patience / 100);
  }
  if (auto locked = lock(opened->get()); !locked) return Failure(locked.error());
  if (somebody_listens(*address)) {
    return fail(Errc::unavailable, fmt::format("the agent name '{}' is taken", agent),
                "it runs already: stop it, or give this one another name with --agent");
  }
  if (auto removed = remove_socket(path); !removed) return Failure(removed.error());
  auto socket = open_stream_socket(SOCK_NONBLOCK);
  if (!socket) return Failure(socket.error());
  const auto* const own = reinterpret_cast<const sockaddr*>(&*address);
  if (::bind(socket->get(), own, sizeof(*address)) != 0 || ::listen(socket->get(), backlog) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot listen on '{}'", path));
  }
  return RunSocket(path, std::move(*socket));
}

RunSocket::RunSocket(RunSocket&& other) noexcept
    : path_(std::exchange(other.path_, {})), socket_(std::move(other.socket_)) {}

RunSocket::~RunSocket() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Result<Fd> connect_run(const std::string& directory, const std::string& agent,
                       std::string_view suffix) {
  return connect_socket(run_socket_path(directory, agent, suffix));
}

Result<Fd> open_stream_socket(int flags) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!socket) return fail_errno(Errc::unavailable, "socket");
  return socket;
}

Result<Connected> connect_to(int socket, const std::string& path) {
  const auto address = address_of(path);
  if (!address) return Failure(address.error());
  const auto* const to = reinterpret_cast<const sockaddr*>(&*address);
  if (::connect(socket, to, sizeof(*address)) == 0) return Connected::yes;
  if (errno == ENOENT || errno == ECONNREFUSED) return Connected::nobody_listens;
  if (errno == EAGAIN || errno == EINTR) return Connected::later;
  const bool is_refused = errno == EACCES || errno == EPERM;
  return fail_errno(is_refused ? Errc::not_permitted : Errc::unavailable, "connect");
}

Result<Fd> connect_socket(const std::string& path) {
  auto socket = open_stream_socket(0);
  if (!socket) return socket;
  // SO_SNDTIMEO bounds connect(2) as well (socket(7)).
  for (const int option : {SO_SNDTIMEO, SO_RCVTIMEO}) {
    ::setsockopt(socket->get(), SOL_SOCKET, option, &socket_patience, sizeof(socket_patience));
  }
  const auto connected = connect_to(socket->get(), path);
  if (connected == Connected::yes) return socket;
  if (connected == Connected::nobody_listens) return Fd();
  if (!connected) return Failure(unanswered(path, connected.error()));
  return Failure(unanswered(path, {Errc::unavailable, "its backlog stays full", "", {}}));
}

Error unanswered(const std::string& path, Error why) {
  if (why.code == Errc::bad_config) return why;  // it is the path's fault, and says so
  why.what = fmt::format("'{}' does not answer: {}", text::printable(path), why.what);
  if (why.code == Errc::unavailable) why.hint = "is its process stopped?";
  if (why.code == Errc::not_permitted) {
    why.hint = fmt::format("its owner may ask, and its group: ls -l '{}'", text::printable(path));
  }
  return why;
}

Result<std::vector<std::string>> agents_in(const std::string& directory) {
  std::vector<std::string> agents;
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0 && errno == ENOENT) return agents;
  auto opened = open_private_directory(directory);
  if (!opened) return Failure(opened.error());
  const std::unique_ptr<DIR, CloseDirectory> list(::fdopendir(opened->get()));
  if (!list) return fail_errno(Errc::unavailable, fmt::format("cannot list '{}'", directory));
  (void)opened->release();
  while (const dirent* const entry = ::readdir(list.get())) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(control_suffix)) continue;
    agents.emplace_back(name.substr(0, name.size() - control_suffix.size()));
  }
  std::sort(agents.begin(), agents.end());
  return agents;
}

Result<void> remove_dead_sockets(const std::string& directory, const std::string& agent) {
  const auto opened = open_private_directory(directory);
  if (!opened) return Failure(opened.error());
  if (auto locked = lock(opened->get()); !locked) return locked;
  for (const std::string_view suffix : {admin_suffix, control_suffix}) {
    const std::string path = run_socket_path(directory, agent, suffix);
    const auto address = address_of(path);
    // A sluiced ends just after its supervisor: until then the other socket tells of both.
    if (!address || somebody_listens(*address)) return {};
    if (auto removed = remove_socket(path); !removed) return removed;
  }
  return {};
}

}  // namespace sluice::launcher
