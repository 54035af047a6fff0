#include "launcher/cgroup/settings.h"

#include <fmt/core.h>

#include <cstdint>

namespace sluice::launcher::cgroup {
namespace {

constexpr std::uint64_t cpu_period = 100'000;  // microseconds, the kernel's own default

std::uint64_t cpu_quota(std::uint32_t thousandths) {
  return std::uint64_t{thousandths} * (cpu_period / 1000);
}

// Documentation/block/bfq-iosched.rst has 1 to 1000, and 100 for who says nothing; the same share
// of the same others, as systemd maps it (systemd.resource-control(5), IOWeight=).
std::uint32_t bfq_weight(std::uint32_t weight) {
  return weight <= 100 ? weight : 100 + (weight - 100) * 900 / 9900;
}

// Whichever of the two is there: a disk's scheduler reads its own.
std::vector<Setting> io_settings(std::uint32_t weight, const char* kernels, const char* bfqs) {
  return {{kernels, fmt::format("{}", weight), true},
          {bfqs, fmt::format("{}", bfq_weight(weight)), true}};
}

std::string no_swap(const Limits& limits) {
  if (!limits.swap) return {};
  return fmt::format("--swap {} is not kept: this kernel does not count swap",
                     size_in_words(*limits.swap));
}

// Documentation/admin-guide/cgroup-v2.rst
std::vector<Setting> settings_v2(Controller controller, const Limits& limits) {
  switch (controller) {
    case Controller::memory:
      return {
          {"memory.max", fmt::format("{}", *limits.memory)},
          {"memory.swap.max", fmt::format("{}", limits.swap.value_or(0)), true, no_swap(limits)},
          {"memory.oom.group", "1"}};
    case Controller::pids:
      return {{"pids.max", fmt::format("{}", *limits.pids)}};
    case Controller::io:
      return io_settings(*limits.io_weight, "io.weight", "io.bfq.weight");
    case Controller::cpu:
      break;
  }
  return {{"cpu.max", fmt::format("{} {}", cpu_quota(*limits.cpus), cpu_period)}};
}

// Documentation/admin-guide/cgroup-v1; memory and swap together may not be less than memory.
std::vector<Setting> settings_v1(Controller controller, const Limits& limits) {
  switch (controller) {
    case Controller::memory:
      return {{"memory.limit_in_bytes", fmt::format("{}", *limits.memory)},
              {"memory.memsw.limit_in_bytes",
               fmt::format("{}", *limits.memory + limits.swap.value_or(0)), true, no_swap(limits)}};
    case Controller::pids:
      return {{"pids.max", fmt::format("{}", *limits.pids)}};
    case Controller::io:
      return io_settings(*limits.io_weight, "blkio.weight", "blkio.bfq.weight");
    case Controller::cpu:
      break;
  }
  return {{"cpu.cfs_period_us", fmt::format("{}", cpu_period)},
          {"cpu.cfs_quota_us", fmt::format("{}", cpu_quota(*limits.cpus))}};
}

}  // namespace

std::vector<Setting> settings_for(Version version, Controller controller, const Limits& limits) {
  return version == Version::v2 ? settings_v2(controller, limits) : settings_v1(controller, limits);
}

std::string no_weight(std::uint32_t weight) {
  return fmt::format("--io-weight {} is not kept: this kernel has no weights of I/O (bfq, io.cost)",
                     weight);
}

}  // namespace sluice::launcher::cgroup
