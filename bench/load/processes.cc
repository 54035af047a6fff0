#include "bench/load/processes.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include "base/io.h"

namespace sluice::bench {
namespace {

constexpr std::size_t proc_file_limit = 65'536;

struct Stat {
  pid_t parent = 0;
  ProcessorTime time;
};

// /proc/PID/stat behind the name, which may hold anything: state ppid pgrp session tty_nr tpgid
// flags minflt cminflt majflt cmajflt utime stime cutime cstime
std::optional<Stat> read_stat(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid), proc_file_limit);
  if (!text) return std::nullopt;
  std::istringstream fields(text->substr(text->rfind(')') + 1));
  std::string skipped;
  Stat stat;
  fields >> skipped >> stat.parent;
  for (int i = 0; i < 9; ++i) fields >> skipped;
  std::array<double, 4> ticks{};
  for (double& value : ticks) fields >> value;
  if (!fields) return std::nullopt;
  const auto hertz = static_cast<double>(::sysconf(_SC_CLK_TCK));
  stat.time = {.user = (ticks[0] + ticks[2]) / hertz, .system = (ticks[1] + ticks[3]) / hertz};
  return stat;
}

// Every process by its parent.
std::multimap<pid_t, pid_t> all_children() {
  std::multimap<pid_t, pid_t> children;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc() || end != name.data() + name.size()) continue;
    if (const auto stat = read_stat(pid)) children.emplace(stat->parent, pid);
  }
  return children;
}

// False when the process is gone or may not be looked into.
bool add_rollup(pid_t pid, Memory& sum) {
  const auto text = read_file(fmt::format("/proc/{}/smaps_rollup", pid), proc_file_limit);
  if (!text) return false;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string key;
    std::uint64_t kib = 0;
    if (!(fields >> key >> kib)) continue;
    if (key == "Rss:") sum.rss += kib;
    if (key == "Pss:") sum.pss += kib;
  }
  return true;
}

// Anybody may read statm, in pages.
bool add_statm(pid_t pid, Memory& sum) {
  const auto text = read_file(fmt::format("/proc/{}/statm", pid), proc_file_limit);
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  if (!text || !(std::istringstream(*text) >> size >> resident)) return false;
  sum.rss += resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / 1024;
  return true;
}

}  // namespace

ProcessorTime operator-(const ProcessorTime& later, const ProcessorTime& earlier) noexcept {
  return {.user = later.user - earlier.user, .system = later.system - earlier.system};
}

ProcessTree::ProcessTree(const std::vector<pid_t>& roots) : pids_(roots) {
  if (roots.empty()) return;
  const auto children = all_children();
  for (std::size_t i = 0; i < pids_.size(); ++i) {
    const auto [begin, end] = children.equal_range(pids_[i]);
    for (auto child = begin; child != end; ++child) pids_.push_back(child->second);
  }
}

ProcessorTime ProcessTree::processor_time() const {
  ProcessorTime sum;
  for (const pid_t pid : pids_) {
    const auto stat = read_stat(pid);
    if (!stat) continue;
    sum.user += stat->time.user;
    sum.system += stat->time.system;
  }
  return sum;
}

Memory ProcessTree::memory() const {
  Memory sum;
  bool whole = true;
  for (const pid_t pid : pids_) {
    if (!add_rollup(pid, sum) && add_statm(pid, sum)) whole = false;
  }
  if (!whole) sum.pss = 0;
  return sum;
}

}  // namespace sluice::bench
