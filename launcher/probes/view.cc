#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/fd.h"
#include "base/io.h"
#include "launcher/paths.h"
#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"
#include "launcher/probes/mount_table.h"
#include "launcher/probes/tree_walk.h"

namespace sluice::launcher::probes {
namespace {

constexpr std::size_t most_entries = 200'000;

bool is_a_place_to_write(const Plan& plan, const std::string& path) {
  const Mount* deciding = nullptr;
  for (const Mount& mount : plan.mounts) {
    if (is_at_or_below(path, mount.path)) deciding = &mount;
  }
  if (deciding == nullptr) return path == "/dev/pts" || path == "/dev/mqueue";
  if (deciding->kind == Mount::Kind::bind) return deciding->access == Access::read_write;
  return deciding->kind == Mount::Kind::tmpfs;
}

// EOPNOTSUPP: a file system without O_TMPFILE (open(2)), of which access(2) must tell.
bool can_write_in(const std::string& directory) {
  const Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file) return true;
  const bool says_nothing = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL;
  return says_nothing && ::access(directory.c_str(), W_OK) == 0;
}

Answer nothing_else_is_writable(const Bounds& bounds) {
  std::string found;
  walk("/", {most_entries, 2}, [&](const FTSENT& entry) {
    if (entry.fts_info != FTS_D) return true;
    const std::string path = absolute(entry.fts_path);
    if (is_at_or_below(path, "/proc") || is_a_place_to_write(bounds.plan, path)) return true;
    if (!can_write_in(path)) return true;
    found = path;
    return false;
  });
  return found.empty() ? held() : reached(found);
}

Answer every_mount_is_closed(const Bounds& bounds) {
  const auto table = read_mount_table();
  if (!table) return reached("no answer of /proc/self/mountinfo");
  for (const HostMount& mount : *table) {
    if (is_device_file(mount)) continue;
    if (!has_option(mount, "nosuid"))
      return reached(mount.point + ", mounted with set-uid programs");
    if (!has_option(mount, "nodev") && mount.type != "devpts") {
      return reached(mount.point + ", mounted with devices");
    }
    if (has_option(mount, "ro") || mount.point == "/proc") continue;
    if (!is_a_place_to_write(bounds.plan, mount.point)) {
      return reached(mount.point + ", mounted writable");
    }
  }
  return held();
}

bool is_harmless(dev_t device) {
  constexpr unsigned memory = 1;
  constexpr unsigned terminals = 5;
  constexpr unsigned first_of_pts = 136;  // to 143, admin-guide/devices.txt
  constexpr unsigned last_of_pts = 143;
  const unsigned kind = ::gnu_dev_major(device);
  const unsigned number = ::gnu_dev_minor(device);
  if (kind == memory) return number == 3 || number == 5 || (number >= 7 && number <= 9);
  if (kind == terminals) return number == 0 || number == 2;
  return kind >= first_of_pts && kind <= last_of_pts;
}

Answer devices_are_harmless(const Bounds&) {
  std::string found;
  walk("/dev", {most_entries}, [&](const FTSENT& entry) {
    if (entry.fts_info != FTS_DEFAULT) return true;
    const struct stat& status = *entry.fts_statp;
    const bool is_device = S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode);
    if (!is_device || (S_ISCHR(status.st_mode) && is_harmless(status.st_rdev))) return true;
    found = entry.fts_path;
    return false;
  });
  return found.empty() ? held() : reached(found);
}

bool tells_something(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  char byte = 0;
  return file && ::read(file.get(), &byte, 1) > 0;
}

Answer kernel_tells_nothing(const Bounds&) {
  for (const char* path :
       {"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/timer_list",
        "/proc/sched_debug", "/proc/kpagecount", "/dev/mem", "/dev/kmsg", "/dev/port"}) {
    if (tells_something(path)) return reached(path);
  }
  return held();
}

Answer system_secrets_are_closed(const Bounds&) {
  return cannot_open({"/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/root/.ssh",
                      "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key"},
                     O_RDONLY);
}

// An entry below a directory is something, whether or not it can be read.
bool shows_something(const std::string& path) {
  const std::size_t entries = walk(path, {2}, [](const FTSENT&) { return true; });
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return false;
  return S_ISDIR(status.st_mode) ? entries > 1 : tells_something(path);
}

Answer masked_paths_are_empty(const Bounds& bounds) {
  for (const std::string& path : bounds.plan.masks) {
    if (shows_something(path)) return reached(path);
  }
  return held();
}

constexpr Probe probes[] = {
    {"mounts", "looks for a mount with writing, set-uid programs or devices", When::in_proof,
     every_mount_is_closed},
    {"writable places", "makes files in every directory of the upper levels", When::in_proof,
     nothing_else_is_writable},
    {"devices", "looks for a device that leads to hardware", When::in_proof, devices_are_harmless},
    {"kernel memory", "reads the kernel's memory, log, keys and timers", When::in_proof,
     kernel_tells_nothing},
    {"system secrets", "reads the machine's passwords and keys", When::in_proof,
     system_secrets_are_closed},
    {"masked paths", "reads what should be hidden", When::in_proof, masked_paths_are_empty},
};

}  // namespace

std::span<const Probe> view_probes() { return probes; }

}  // namespace sluice::launcher::probes
