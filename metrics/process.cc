#include "metrics/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <memory>
#include <string_view>

namespace sluice::metrics {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// The second number of statm, in pages (proc(5)).
std::optional<double> resident_bytes(int statm) {
  std::array<char, 128> text{};
  const ssize_t size = ::pread(statm, text.data(), text.size(), 0);
  if (size <= 0) return {};
  std::string_view rest(text.data(), static_cast<std::size_t>(size));
  rest.remove_prefix(std::min(rest.find(' ') + 1, rest.size()));
  std::uint64_t pages = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), pages);
  if (error != std::errc()) return {};
  return static_cast<double>(pages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::optional<double> count_open_fds() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), ::closedir);
  if (!folder) return {};
  int entries = 0;
  while (::readdir(folder.get()) != nullptr) ++entries;
  return entries - 3;  // ".", ".." and the folder itself
}

}  // namespace

Process::Process() : statm_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)) {}

ProcessUse Process::use() const {
  ProcessUse use;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    use.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  use.start_time = std::chrono::duration<double>(start_.time_since_epoch()).count();
  use.resident_bytes = resident_bytes(statm_.get());
  use.open_fds = count_open_fds();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    use.max_fds = static_cast<double>(limit.rlim_cur);
  }
  return use;
}

}  // namespace sluice::metrics
