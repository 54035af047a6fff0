#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"

namespace sluice::launcher::probes {
namespace {

constexpr auto before_exec = When::before_exec;
constexpr auto in_proof = When::in_proof;

constexpr unsigned long bad_flags = 0x7ffffff0;
constexpr auto here = static_cast<unsigned long>(AT_FDCWD);

Answer no_mount(const Bounds&) {
  return refused({{"mount(2)", SYS_mount, {nowhere, nowhere, nowhere, 0, 0}},
                  {"umount2(2)", SYS_umount2, {nowhere, bad_flags}}});
}

Answer no_detached_mount(const Bounds&) {
  return refused({{"open_tree(2)", SYS_open_tree, {no_fd, nowhere, bad_flags}},
                  {"move_mount(2)", SYS_move_mount, {no_fd, nowhere, no_fd, nowhere, bad_flags}},
                  {"fsopen(2)", SYS_fsopen, {nowhere, bad_flags}},
                  {"fsconfig(2)", SYS_fsconfig, {no_fd, 0, 0, 0, 0}},
                  {"fsmount(2)", SYS_fsmount, {no_fd, bad_flags, 0}},
                  {"fspick(2)", SYS_fspick, {no_fd, nowhere, bad_flags}},
                  {"mount_setattr(2)", SYS_mount_setattr, {no_fd, nowhere, bad_flags}}});
}

Answer no_change_of_root(const Bounds& bounds) {
  // An overlay's root may change it to a directory of its own.
  if (bounds.plan.root.is_overlay()) {
    return refused({"pivot_root(2)", SYS_pivot_root, {nowhere, nowhere}});
  }
  return refused({{"pivot_root(2)", SYS_pivot_root, {nowhere, nowhere}},
                  {"chroot(2)", SYS_chroot, {nowhere}}});
}

Answer no_handles(const Bounds&) {
  return refused(
      {{"name_to_handle_at(2)", SYS_name_to_handle_at, {no_fd, nowhere, nowhere, nowhere, 0}},
       {"open_by_handle_at(2)", SYS_open_by_handle_at, {no_fd, nowhere, 0}}});
}

Answer no_file_in_root(const Bounds& bounds) {
  if (bounds.plan.root.is_overlay()) return not_applicable("the root is an overlay");
  const long fd = ::syscall(SYS_openat, AT_FDCWD, "/", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 && is_refusal(errno)) return held();
  return reached(let_in("making a file in /", fd, errno));
}

Answer kernel_switches_are_closed(const Bounds&) {
  return cannot_open(
      {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
       "/proc/sys/vm/drop_caches", "/proc/sys/fs/binfmt_misc/register",
       "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/mtrr",
       "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper", "/sys/power/state",
       "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/cgroup.procs"},
      O_WRONLY);
}

Answer no_device_nodes(const Bounds&) {
  return refused({{"mknod of a device", SYS_mknodat, {here, nowhere, S_IFCHR | 0600, 0}},
                  {"mknod of a device", SYS_mknodat, {here, nowhere, S_IFBLK | 0600, 0}}});
}

Answer no_set_id_bits(const Bounds&) {
  return refused({{"chmod to 4755", SYS_fchmodat, {here, nowhere, 04755}},
                  {"chmod to 2755", SYS_fchmodat, {here, nowhere, 02755 | high_bit}}});
}

constexpr Probe probes[] = {
    {"mount", "mounts and unmounts", before_exec, no_mount},
    {"detached mounts", "makes, moves and changes mounts by descriptor", before_exec,
     no_detached_mount},
    {"changing the root", "takes another directory for /", before_exec, no_change_of_root},
    {"file handles", "opens files by number, past every mount", before_exec, no_handles},
    {"root directory", "makes a file in /", before_exec, no_file_in_root},
    {"kernel switches", "opens the files that command the kernel", before_exec,
     kernel_switches_are_closed},
    {"device nodes", "makes a device node", in_proof, no_device_nodes},
    {"set-uid files", "gives a file set-uid and set-gid bits", in_proof, no_set_id_bits},
};

}  // namespace

std::span<const Probe> filesystem_probes() { return probes; }

}  // namespace sluice::launcher::probes
