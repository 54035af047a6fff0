#include "netns/attach/processes.h"

#include <dirent.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/io.h"

namespace sluice::netns {
namespace {

constexpr std::size_t most_bytes = std::size_t{64} * 1024;

std::vector<pid_t> numbers_in(const std::string& path) {
  std::vector<pid_t> numbers;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), &::closedir);
  if (!folder) return numbers;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    pid_t number = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), number);
    if (read.ec == std::errc() && read.ptr == name.data() + name.size()) numbers.push_back(number);
  }
  return numbers;
}

// The number behind "KEY:", the `skipped`-th after it counted from 0.
std::optional<std::uint64_t> number_of(std::string_view status, std::string_view key, int base,
                                       int skipped = 0) {
  const std::string line = fmt::format("\n{}:", key);
  std::size_t at = status.find(line);
  if (at == std::string_view::npos) return std::nullopt;
  at = status.find_first_not_of("\t ", at + line.size());
  for (int i = 0; i < skipped; ++i) at = status.find_first_not_of("\t ", status.find('\t', at));
  if (at == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  const auto read =
      std::from_chars(status.data() + at, status.data() + status.size(), number, base);
  if (read.ec != std::errc()) return std::nullopt;
  return number;
}

}  // namespace

std::vector<pid_t> processes_in(int network_namespace) {
  std::vector<pid_t> found;
  struct stat wanted {};
  if (::fstat(network_namespace, &wanted) != 0) return found;
  for (const pid_t process : numbers_in("/proc")) {
    struct stat its {};
    if (process == ::getpid() ||
        ::stat(fmt::format("/proc/{}/ns/net", process).c_str(), &its) != 0) {
      continue;
    }
    if (its.st_dev == wanted.st_dev && its.st_ino == wanted.st_ino) found.push_back(process);
  }
  return found;
}

std::vector<pid_t> threads_of(pid_t process) {
  return numbers_in(fmt::format("/proc/{}/task", process));
}

Result<ThreadStatus> status_of(pid_t thread) {
  const std::string path = fmt::format("/proc/{}/status", thread);
  const auto text = read_file(path, most_bytes);
  if (!text) return Failure(text.error());
  const auto uid = number_of(*text, "Uid", 10, 1);
  const auto permitted = number_of(*text, "CapPrm", 16);
  const auto effective = number_of(*text, "CapEff", 16);
  const auto bounding = number_of(*text, "CapBnd", 16);
  const auto ambient = number_of(*text, "CapAmb", 16);
  const auto no_new_privileges = number_of(*text, "NoNewPrivs", 10);
  const auto seccomp = number_of(*text, "Seccomp", 10);
  if (!uid || !permitted || !effective || !bounding || !ambient || !no_new_privileges || !seccomp) {
    return fail(Errc::unavailable, fmt::format("'{}' does not say what is asked", path),
                "the kernel must be 4.10 or newer");
  }
  return ThreadStatus{static_cast<uid_t>(*uid),
                      *permitted,
                      *effective,
                      *bounding,
                      *ambient,
                      *no_new_privileges != 0,
                      static_cast<int>(*seccomp)};
}

}  // namespace sluice::netns
