#include "launcher/sandbox/kernel_files.h"

#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>

#include "launcher/sandbox/masking.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t quiet = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
constexpr std::uint64_t empty_bytes = 4096;

// Writable for the id that owns them, whatever namespace it is in.
constexpr std::array<const char*, 5> read_only{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq",
                                               "/proc/bus", "/proc/fs"};
// What they tell is the host's.
constexpr std::array<const char*, 14> covered{
    "/proc/kcore",         "/proc/keys",
    "/proc/key-users",     "/proc/timer_list",
    "/proc/timer_stats",   "/proc/sched_debug",
    "/proc/latency_stats", "/proc/kmsg",
    "/proc/kpagecount",    "/proc/kpageflags",
    "/proc/acpi",          "/proc/scsi",
    "/sys/firmware",       "/sys/devices/virtual/powercap"};

bool exists(const char* path) {
  struct stat status {};
  return ::lstat(path, &status) == 0;
}

Result<void> make_read_only(const char* path) {
  if (!exists(path)) return {};
  auto copy = clone_tree(path, Recursive::yes);
  if (!copy) return Failure(copy.error());
  if (auto set = set_attributes(copy->get(), quiet | MOUNT_ATTR_RDONLY, Recursive::yes); !set) {
    return set;
  }
  return attach(copy->get(), path);
}

}  // namespace

Result<KernelFiles> KernelFiles::make() {
  KernelFiles files;
  auto proc = new_file_system({.type = "proc", .parameters = {}, .attributes = quiet});
  if (!proc) {
    proc.error().hint =
        "a part of /proc is covered here, as container engines do: start the container with "
        "--security-opt systempaths=unconfined (podman: --security-opt unmask=ALL)";
    return Failure(proc.error());
  }
  files.proc_ = std::move(*proc);
  auto sys =
      new_file_system({.type = "sysfs", .parameters = {}, .attributes = quiet | MOUNT_ATTR_RDONLY});
  if (!sys) sys = new_tmpfs(empty_bytes, 0555);
  if (!sys) return Failure(sys.error());
  files.sys_ = std::move(*sys);
  return files;
}

Result<void> KernelFiles::attach() {
  if (auto done = launcher::attach(proc_.get(), "/proc"); !done) return done;
  if (auto done = launcher::attach(sys_.get(), "/sys"); !done) return done;
  return set_attributes(sys_.get(), MOUNT_ATTR_RDONLY, Recursive::no);
}

Result<void> KernelFiles::seal() {
  for (const char* path : read_only) {
    if (auto done = make_read_only(path); !done) return done;
  }
  for (const char* path : covered) {
    if (auto done = hide(path); !done) return done;
  }
  return {};
}

}  // namespace sluice::launcher
