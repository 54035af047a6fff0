#include "launcher/cgroup/directory.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <random>

#include "base/io.h"
#include "base/text.h"

namespace sluice::launcher::cgroup {
namespace {

constexpr std::string_view prefix = "sluice-";
constexpr int most_names = 16;
constexpr std::size_t largest_file = std::size_t{1024} * 1024;
constexpr int removal_ms = 5000;

constexpr const char* hint = "'sluice doctor' says what is possible here";

// Empty where somebody else holds it or it is gone.
Fd lock(const std::string& path) {
  Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!directory || ::flock(directory.get(), LOCK_EX | LOCK_NB) != 0) return {};
  struct stat held {};
  struct stat named {};
  // Between open and lock it may have been taken for abandoned.
  if (::fstat(directory.get(), &held) != 0 || ::stat(path.c_str(), &named) != 0 ||
      held.st_ino != named.st_ino || held.st_uid != ::geteuid()) {
    return {};
  }
  return directory;
}

void kill_all(const std::string& path) {
  // Since Linux 5.14, in v2.
  if (write_file(path + "/cgroup.kill", "1")) return;
  const std::string pids = read_file(path + "/cgroup.procs", largest_file).value_or("");
  for (std::string_view rest = pids; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    pid_t pid = 0;
    std::from_chars(line.data(), line.data() + line.size(), pid);
    // 0: of a pid namespace that is out of sight (cgroups(7)).
    if (pid > 0) ::kill(pid, SIGKILL);
  }
}

// A killed process takes a moment to leave its group.
void empty_and_remove(const std::string& path) {
  for (int waited = 0; waited < removal_ms; ++waited) {
    if (::rmdir(path.c_str()) == 0 || errno != EBUSY) return;
    kill_all(path);
    ::poll(nullptr, 0, 1);
  }
}

}  // namespace

Result<Directory> Directory::make(const std::string& parent) {
  std::random_device random;
  for (int i = 0; i < most_names; ++i) {
    std::string path = fmt::format("{}/{}{}-{:08x}", parent, prefix, ::getpid(), random());
    if (::mkdir(path.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      return fail_errno(Errc::not_permitted,
                        fmt::format("cannot make the control group '{}'", text::printable(path)),
                        hint);
    }
    if (Fd held = lock(path)) return Directory(std::move(path), std::move(held));
    ::rmdir(path.c_str());
  }
  return fail(
      Errc::unavailable,
      fmt::format("something takes away every control group below '{}'", text::printable(parent)),
      "does another program clean up there?");
}

Directory::~Directory() {
  if (lock_) empty_and_remove(path_);
}

Result<void> Directory::write(std::string_view file, std::string_view value) const {
  errno = 0;
  if (write_file(fmt::format("{}/{}", path_, file), value)) return {};
  const int number = errno;
  return Failure(errno_error(
      Errc::not_permitted,
      fmt::format("cannot write '{}' to '{}/{}'", value, text::printable(path_), file), number,
      number == EINVAL ? "the control group that sluice was started in allows less" : hint));
}

bool Directory::has(std::string_view file) const {
  return ::access(fmt::format("{}/{}", path_, file).c_str(), F_OK) == 0;
}

std::string Directory::read(std::string_view file) const {
  return read_file(fmt::format("{}/{}", path_, file), largest_file).value_or("");
}

unsigned long long number_of(std::string_view lines, std::string_view key) {
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ' ') continue;
    unsigned long long number = 0;
    std::from_chars(line.data() + key.size() + 1, line.data() + line.size(), number);
    return number;
  }
  return 0;
}

void remove_abandoned(const std::string& parent) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    const std::string path = entry.path().string();
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    if (const Fd held = lock(path)) empty_and_remove(path);
  }
}

}  // namespace sluice::launcher::cgroup
