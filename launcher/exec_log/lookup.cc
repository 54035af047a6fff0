#include "launcher/exec_log/lookup.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <climits>

#include "base/io.h"
#include "launcher/exec_log/pidfd.h"

namespace sluice::launcher {
namespace {

// Directories above a missing file that are looked at; more are no search in PATH.
constexpr int most_missing_levels = 8;
constexpr std::size_t longest_status = std::size_t{1024} * 1024;

// The files of /proc that are read here are short, and cut off where they are not.
std::string read_start(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> bytes;
  const ssize_t got = file ? ::read(file.get(), bytes.data(), bytes.size()) : 0;
  return std::string(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
}

// proc(5): a process can call itself whatever it likes, but no line feed gets into this file.
pid_t field(std::string_view status, std::string_view name) {
  const std::size_t at = status.find(name);
  pid_t value = 0;
  if (at == std::string_view::npos) return value;
  std::from_chars(status.data() + at + name.size(), status.data() + status.size(), value);
  return value;
}

// Links of these lead to whoever looks, or to files without a path.
bool is_of_the_looker(std::string_view path) {
  return path.starts_with("/proc/") || path.starts_with("/dev/fd/");
}

}  // namespace

Kin kin_of(pid_t thread, int process) {
  Kin kin;
  if (const auto numbers = process < 0 ? std::nullopt : numbers_of(process)) {
    kin.process = numbers->process;
    kin.parent = numbers->parent;
  } else {
    const std::string status = read_start(fmt::format("/proc/{}/status", thread));
    kin.process = field(status, "\nTgid:\t");
    kin.parent = field(status, "\nPPid:\t");
  }
  if (kin.parent == 0) return kin;
  kin.parent_name = read_start(fmt::format("/proc/{}/comm", kin.parent));
  if (kin.parent_name.ends_with('\n')) kin.parent_name.pop_back();
  return kin;
}

// NSpid has a number for each namespace, its own last. An overlay's root can have thousands of
// groups in the line before it.
pid_t innermost_number(pid_t thread) {
  const auto status = read_file(fmt::format("/proc/{}/status", thread), longest_status);
  const std::size_t line = status ? status->find("\nNSpid:") : std::string::npos;
  if (line == std::string::npos) return 0;
  std::string_view numbers = std::string_view(*status).substr(line + 1);
  numbers = numbers.substr(0, numbers.find('\n'));
  return field(numbers.substr(numbers.rfind('\t')), "\t");
}

std::string link_of(pid_t thread, const std::string& name) {
  std::array<char, PATH_MAX> bytes;
  const ssize_t got =
      ::readlink(fmt::format("/proc/{}/{}", thread, name).c_str(), bytes.data(), bytes.size());
  return std::string(bytes.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
}

AgentRoot::AgentRoot(pid_t thread, CanChange can_change)
    : root_(::open(fmt::format("/proc/{}/root", thread).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
      can_change_(can_change) {}

bool AgentRoot::is_of(pid_t thread) const { return !can_change_ || link_of(thread, "root") == "/"; }

Fd AgentRoot::look(const std::string& path) const {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT;
  return Fd(static_cast<int>(::syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof(how))));
}

// /proc/self is not there for who looks from outside: a link may lead to it.
bool AgentRoot::is_surely_missing(std::string path) const {
  for (int level = 0; level < most_missing_levels; ++level) {
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    const std::size_t slash = path.rfind('/');
    const std::string name = path.substr(slash + 1);
    path.resize(slash + 1);
    const Fd directory = look(path);
    if (!directory) continue;
    struct stat status {};
    return ::fstatat(directory.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
           !S_ISLNK(status.st_mode);
  }
  return false;
}

bool AgentRoot::has_program(const std::string& path) const {
  if (!root_ || is_of_the_looker(path)) return true;
  const Fd file = look(path);
  if (!file && errno == ENOENT) return !is_surely_missing(path);
  // EXDEV: a link of /proc on the way.
  // An overlay's agent may enter what is closed to who looks (CAP_DAC_OVERRIDE): whoever can change
  // its root is one.
  if (!file) {
    if (errno == EACCES) return bool(can_change_);
    if (errno == ENAMETOOLONG) return path.size() >= PATH_MAX;  // both together
    return errno != ENOTDIR && errno != ELOOP;
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return true;
  return S_ISREG(status.st_mode) && (status.st_mode & 0111) != 0;
}

}  // namespace sluice::launcher
