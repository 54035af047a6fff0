#include "launcher/sandbox/set_id_broker.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <sstream>
#include <string>

#include "base/fd.h"
#include "base/io.h"

namespace sluice::launcher {
namespace {

constexpr int fchmodat2_call = 452;  // younger than the build machine's headers may be
constexpr std::size_t longest_status = std::size_t{1024} * 1024;  // it may have many groups

// What is asked: the arguments that the four calls have in common.
struct Request {
  int directory = AT_FDCWD;
  std::uint64_t path = 0;  // an address of the caller's; unused with is_fd
  mode_t mode = 0;
  int flags = 0;
  bool is_fd = false;  // `directory` itself is meant
};

// Nothing for a call that is none of them.
std::optional<Request> read_request(const Notification& held) {
  const auto argument = [&](std::size_t n) { return held.arguments.at(n); };
  const auto integer = [&](std::size_t n) { return static_cast<int>(argument(n)); };
  const auto mode = [&](std::size_t n) { return static_cast<mode_t>(argument(n) & 01777); };
  switch (held.call) {
    case SYS_fchmod:
      return Request{.directory = integer(0), .mode = mode(1), .is_fd = true};
#ifdef SYS_chmod
    case SYS_chmod:
      return Request{.path = argument(0), .mode = mode(1)};
#endif
    case fchmodat2_call:
      return Request{
          .directory = integer(0), .path = argument(1), .mode = mode(2), .flags = integer(3)};
    case SYS_fchmodat:  // has no flags
      return Request{.directory = integer(0), .path = argument(1), .mode = mode(2)};
    default:
      return std::nullopt;
  }
}

// A string of the caller's; nothing where it is none or too long. One page at a time: the next one
// need not be mapped.
std::optional<std::string> read_string(pid_t pid, std::uint64_t address) {
  constexpr std::uint64_t page = 4096;
  std::string text;
  while (text.size() < PATH_MAX) {
    std::array<char, page> bytes;
    const std::uint64_t at = address + text.size();
    const iovec here{bytes.data(), page - at % page};
    // NOLINTNEXTLINE(performance-no-int-to-ptr): of the caller.
    const iovec there{reinterpret_cast<void*>(at), here.iov_len};
    const ssize_t size = ::process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (size <= 0) return std::nullopt;
    const std::string_view got(bytes.data(), static_cast<std::size_t>(size));
    const std::size_t end = got.find('\0');
    text += got.substr(0, end);
    if (end != std::string_view::npos) return text;
  }
  return std::nullopt;
}

std::string of_caller(pid_t pid, std::string_view what) {
  return fmt::format("/proc/{}/{}", pid, what);
}

// O_PATH; errno where it cannot be opened.
Fd open_path(int at, const std::string& path, std::uint64_t flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | flags;
  how.resolve = resolve;
  return Fd(static_cast<int>(::syscall(SYS_openat2, at, path.c_str(), &how, sizeof(how))));
}

// As the caller would find it, from its working and root directories.
Fd open_target(pid_t pid, const Request& request) {
  const std::string directory =
      request.directory == AT_FDCWD ? "cwd" : fmt::format("fd/{}", request.directory);
  if (request.is_fd) return open_path(AT_FDCWD, of_caller(pid, directory), 0, 0);
  const auto path = read_string(pid, request.path);
  if (!path) {
    errno = EFAULT;
    return {};
  }
  if (path->empty() && (request.flags & AT_EMPTY_PATH) != 0) {
    return open_path(AT_FDCWD, of_caller(pid, directory), 0, 0);
  }
  const std::uint64_t link = (request.flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0;
  const bool is_absolute = path->starts_with('/');
  const Fd from = open_path(AT_FDCWD, of_caller(pid, is_absolute ? "root" : directory), 0, 0);
  if (!from) return {};
  // /proc/self is this process on the way, and its exe a file of the host.
  const std::uint64_t never = RESOLVE_NO_MAGICLINKS;
  return open_path(from.get(), *path, link, is_absolute ? never | RESOLVE_IN_ROOT : never);
}

// Whether the calling thread could do it itself: uid 0 or the owner, as the file system sees it.
bool may_change(pid_t pid, const struct stat& status) {
  const auto text = read_file(of_caller(pid, "status"), longest_status);
  if (!text) return false;
  std::istringstream line(text->substr(std::min(text->find("\nUid:"), text->size())));
  std::string name;
  uid_t real = 0, effective = 0, saved = 0, file_system = 1;
  if (!(line >> name >> real >> effective >> saved >> file_system)) return false;
  return file_system == 0 || file_system == status.st_uid;
}

// 0 or an errno.
int change_mode(const Notifications& listener, const Notification& held) {
  const auto request = read_request(held);
  if (!request) return ENOSYS;
  const Fd target = open_target(held.thread, *request);
  if (!target) return errno;
  struct stat status {};
  if (::fstat(target.get(), &status) != 0) return errno;
  if (S_ISLNK(status.st_mode)) return EOPNOTSUPP;
  const bool may = may_change(held.thread, status);
  // What was looked at above was another process's if this one has ended.
  if (!listener.is_valid(held)) return ESRCH;
  if (!may) return EPERM;
  const std::string name = fmt::format("/proc/self/fd/{}", target.get());
  return ::chmod(name.c_str(), request->mode) == 0 ? 0 : errno;
}

}  // namespace

void answer_set_id(const Notifications& listener, const Notification& held) {
  (void)listener.answer(held, change_mode(listener, held));
}

}  // namespace sluice::launcher
