#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "launcher/probes/areas.h"
#include "launcher/probes/mount_table.h"
#include "launcher/sandbox/privileges.h"

namespace sluice::launcher::probes {
namespace {

constexpr rlim_t most_descriptors = 65536;

// 1, for 0 does not stop the machine's core_pattern helper (core(5)), where there is one.
Answer cores_are_not_piped(const Bounds&) {
  rlimit core{};
  if (::getrlimit(RLIMIT_CORE, &core) != 0) return reached("no answer of getrlimit(2)");
  if (core.rlim_cur == 1 && core.rlim_max == 1) return held();
  if (core.rlim_max == 0 && !cores_are_piped()) return held();
  return reached("the machine's core_pattern helper");
}

Answer descriptors_are_limited(const Bounds&) {
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return reached("no answer of getrlimit(2)");
  if (descriptors.rlim_max <= most_descriptors) return held();
  return reached(fmt::format("{} descriptors", descriptors.rlim_max));
}

// What is written there is memory.
Answer tmpfs_are_limited(const Bounds& bounds) {
  const auto table = read_mount_table();
  if (!table) return reached("no answer of /proc/self/mountinfo");
  for (const HostMount& mount : *table) {
    struct statvfs sizes {};
    if (mount.type != "tmpfs" || has_option(mount, "ro")) continue;
    if (::statvfs(mount.point.c_str(), &sizes) != 0) continue;  // in a place nobody can enter
    if (sizes.f_blocks == 0 || sizes.f_files == 0) {
      return reached(fmt::format("memory without an end in {}", mount.point));
    }
    for (const Mount& planned : bounds.plan.mounts) {
      if (planned.kind != Mount::Kind::tmpfs || planned.path != mount.point) continue;
      if (sizes.f_blocks * sizes.f_frsize <= planned.bytes) continue;
      return reached(fmt::format("{} bytes in {}", sizes.f_blocks * sizes.f_frsize, mount.point));
    }
  }
  return held();
}

constexpr Probe probes[] = {
    {"core files", "asks whether a crash would start the machine's helper", When::before_exec,
     cores_are_not_piped},
    {"open files", "asks how many descriptors it may have", When::before_exec,
     descriptors_are_limited},
    {"memory in files", "looks for a tmpfs without its cap", When::in_proof, tmpfs_are_limited},
};

}  // namespace

std::span<const Probe> resource_probes() { return probes; }

}  // namespace sluice::launcher::probes
