#include "proxy/daemon/enclose.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/capabilities.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/log.h"
#include "proxy/daemon/syscalls.h"

namespace sluice::proxy {
namespace {

constexpr auto refused = Errc::not_permitted;

Result<void> become(uid_t uid) {
  const gid_t gid = uid;
  const char* const hint =
      "CAP_SETUID and CAP_SETGID are needed, and an id that this user namespace maps";
  if (::setgroups(0, nullptr) != 0) return fail_errno(refused, "setgroups", hint);
  if (::setresgid(gid, gid, gid) != 0) {
    return fail_errno(refused, fmt::format("setresgid to {}", gid), hint);
  }
  if (::setresuid(uid, uid, uid) != 0) {
    return fail_errno(refused, fmt::format("setresuid to {}", uid), hint);
  }
  uid_t uids[3];
  gid_t gids[3];
  const bool known = ::getresuid(&uids[0], &uids[1], &uids[2]) == 0 &&
                     ::getresgid(&gids[0], &gids[1], &gids[2]) == 0;
  const bool changed = std::count(uids, uids + 3, uid) == 3 && std::count(gids, gids + 3, gid) == 3;
  if (!known || !changed || ::getgroups(0, nullptr) != 0) {
    return fail(Errc::bug, "ids of root are left after becoming another user");
  }
  return {};
}

Result<void> leave_root(const Enclosure& enclosure) {
  const bool root = ::getuid() == 0 || ::geteuid() == 0;
  if (!root) {
    if (!enclosure.as_uid) return {};
    return fail(Errc::bad_config, fmt::format("only root can become uid {}", *enclosure.as_uid),
                "leave the uid out");
  }
  if (!enclosure.as_uid) {
    return fail(Errc::bad_config, "root cannot be enclosed as root", "name a uid to become");
  }
  // -1 means "leave as it is" to setresuid(2).
  if (*enclosure.as_uid == 0 || *enclosure.as_uid == static_cast<uid_t>(-1)) {
    return fail(Errc::bad_config, fmt::format("'{}' is not a uid to become", *enclosure.as_uid),
                "name one from the range reserved for sluice");
  }
  return become(*enclosure.as_uid);
}

std::string namespace_hint(int error_number) {
  switch (error_number) {
    case ENOSPC:
      return "raise it: sysctl -w user.max_user_namespaces=10000";
    case EINVAL:
      return "the kernel needs CONFIG_USER_NS, and the process one thread only";
    default:
      return "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, or with "
             "AppArmor "
             "kernel.apparmor_restrict_unprivileged_userns=0";
  }
}

// Everything but the network namespace: it has to dial out.
Result<void> leave_namespaces() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  // After setresuid(2) /proc/self would belong to root, and the maps could not be written.
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return fail_errno(refused, "PR_SET_DUMPABLE");
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) != 0) {
    return fail_errno(refused, "cannot make user, mount, IPC and UTS namespaces",
                      namespace_hint(errno));
  }
  const std::array<std::pair<const char*, std::string>, 3> files = {
      {{"/proc/self/setgroups", "deny"},
       {"/proc/self/uid_map", fmt::format("{0} {0} 1", uid)},
       {"/proc/self/gid_map", fmt::format("{0} {0} 1", gid)}}};
  for (const auto& [path, text] : files) {
    if (auto written = write_file(path, text); !written) {
      written.error().hint = namespace_hint(EPERM);
      return written;
    }
  }
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fail_errno(refused, "PR_SET_DUMPABLE");
  return {};
}

// "/" becomes an empty directory that nobody can write. /proc is only a place that exists
// everywhere to mount it on.
Result<void> leave_files() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return fail_errno(refused, "cannot make mounts private");
  }
  constexpr unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("none", "/proc", "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555") != 0) {
    return fail_errno(refused, "cannot mount an empty root");
  }
  if (::chdir("/proc") != 0) return fail_errno(refused, "chdir to the empty root");
  if (::syscall(SYS_pivot_root, ".", ".") != 0) {
    return fail_errno(refused, "pivot_root",
                      "an initramfs cannot be left: start from a mounted root");
  }
  // The old root now lies over the new one (pivot_root(2), "pivot_root(".", ".")").
  if (::umount2(".", MNT_DETACH) != 0) return fail_errno(refused, "cannot unmount the old root");
  if (::chdir("/") != 0) return fail_errno(refused, "chdir to the new root");
  // ".." of the root leads into what is mounted over it.
  if (::access("/../proc", F_OK) == 0) return fail(Errc::bug, "the old root can still be seen");
  return {};
}

// A core of 1 byte: 0 would still start the helper of a piped core_pattern (core(5)).
Result<void> limit_process() {
  rlimit core{};
  if (::getrlimit(RLIMIT_CORE, &core) != 0) return fail_errno(refused, "getrlimit");
  core.rlim_max = std::min<rlim_t>(core.rlim_max, 1);
  core.rlim_cur = core.rlim_max;
  if (::setrlimit(RLIMIT_CORE, &core) != 0) return fail_errno(refused, "cannot limit core files");
  return forbid_new_privileges();
}

// landlock_ruleset_attr and rights as of ABI 6: the build machine's headers may be older.
struct LandlockAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

struct LandlockRights {
  LandlockAttributes attributes;
  std::size_t size = sizeof(std::uint64_t);  // an older kernel knows only the first members
};

LandlockRights landlock_rights(long abi) {
  constexpr std::uint64_t truncate = 1U << 14;
  constexpr std::uint64_t ioctl_dev = 1U << 15;
  constexpr std::uint64_t scope_abstract_unix_socket = 1U << 0;
  constexpr std::uint64_t scope_signal = 1U << 1;
  LandlockRights rights;
  std::uint64_t& files = rights.attributes.handled_access_fs;
  files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  if (abi >= 2) files |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) files |= truncate;
  if (abi >= 5) files |= ioctl_dev;
  if (abi >= 6) {
    rights.attributes.scoped = scope_abstract_unix_socket | scope_signal;
    rights.size = sizeof(LandlockAttributes);
  }
  return rights;
}

// Every right is handled and no rule grants one. TCP stays: it must connect anywhere.
Result<void> restrict_landlock() {
  const long abi =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 0) {
    if (errno != ENOSYS && errno != EOPNOTSUPP) return fail_errno(refused, "Landlock's version");
    log::info("this kernel has no Landlock; the other walls stand");
    return {};
  }
  const LandlockRights rights = landlock_rights(abi);
  const Fd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rights.attributes, rights.size, 0)));
  if (!ruleset) return fail_errno(refused, "cannot make a Landlock ruleset");
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return fail_errno(refused, "cannot enter Landlock");
  }
  return {};
}

// Asks the kernel whether the walls stand, rather than believing that each step did what it
// answered.
Result<void> prove() {
  if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return fail(Errc::bug, "the enclosed process can gain privileges or be dumped");
  }
  if (const Fd root(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)); root) {
    return fail(Errc::bug, "the enclosed process can open '/'");
  }
  if (const Fd local(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); local) {
    return fail(Errc::bug, "the enclosed process can make local sockets");
  }
  return {};
}

}  // namespace

Result<void> enclose(const Enclosure& enclosure) {
  return leave_root(enclosure)
      .and_then(leave_namespaces)
      .and_then(leave_files)
      .and_then(drop_capabilities)
      .and_then(limit_process)
      .and_then(restrict_landlock)
      .and_then(restrict_syscalls)
      .and_then(prove);
}

}  // namespace sluice::proxy
