#include "launcher/sandbox/seccomp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <map>

#include "base/capabilities.h"

namespace sluice::launcher {
namespace {

// The errno of `call` (0: it succeeded) in a process of its own under the filter; -1: it did not
// tell.
int errno_under_filter(const std::function<long()>& call, FilterFor whom = FilterFor::agent) {
  static std::map<FilterFor, Result<FilterProgram>> filters;
  const auto& filter = filters.count(whom) != 0
                           ? filters.at(whom)
                           : filters.emplace(whom, compile_filter(whom)).first->second;
  EXPECT_TRUE(filter);
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!forbid_new_privileges() || !load_filter(*filter)) ::_exit(255);
    errno = 0;
    ::_exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

// Arguments as the registers hold them, so that high bits arrive.
int errno_of(long number, std::initializer_list<unsigned long> arguments) {
  std::vector<unsigned long> a(arguments);
  a.resize(6);
  return errno_under_filter([&] { return ::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]); });
}

int errno_for(FilterFor whom, const std::function<long()>& call) {
  return errno_under_filter(call, whom);
}

constexpr unsigned long high_bit = 1UL << 32;

TEST(TheFilter, FitsTheKernelsLimit) {
  const auto filter = compile_filter();
  ASSERT_TRUE(filter);
  EXPECT_LT(filter->size(), std::size_t{BPF_MAXINSNS});
}

TEST(TheFilter, OpensOnlyUnixInternetAndRouteSockets) {
  for (const unsigned long family : {AF_UNIX, AF_INET, AF_INET6}) {
    EXPECT_EQ(errno_of(SYS_socket, {family, SOCK_DGRAM, 0}), 0) << family;
  }
  EXPECT_EQ(errno_of(SYS_socket, {AF_NETLINK, SOCK_RAW, 0}), 0);
  EXPECT_EQ(errno_of(SYS_socketpair, {AF_TIPC, SOCK_STREAM, 0, 0}), EAFNOSUPPORT);
  for (unsigned long family = 0; family < 50; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK)
      continue;
    EXPECT_EQ(errno_of(SYS_socket, {family, SOCK_STREAM, 0}), EAFNOSUPPORT) << family;
  }
}

TEST(TheFilter, ReadsIntArgumentsAsTheKernelDoes) {
  EXPECT_EQ(errno_of(SYS_socket, {AF_VSOCK | high_bit, SOCK_STREAM, 0}), EAFNOSUPPORT);
  EXPECT_EQ(errno_of(SYS_socket, {AF_PACKET | high_bit << 20, SOCK_RAW, 0}), EAFNOSUPPORT);
  EXPECT_EQ(errno_of(SYS_socket, {AF_NETLINK | high_bit, SOCK_RAW, 9}), EPROTONOSUPPORT);
  EXPECT_EQ(errno_of(SYS_socket, {AF_NETLINK, SOCK_RAW, 16}), EPROTONOSUPPORT);
  EXPECT_EQ(errno_of(SYS_socket, {1UL << 20, SOCK_STREAM, 0}), EAFNOSUPPORT);
  EXPECT_EQ(errno_of(SYS_ioctl, {0, TIOCSTI, 0}), EPERM);
  EXPECT_EQ(errno_of(SYS_ioctl, {0, TIOCSTI | high_bit, 0}), EPERM);
  EXPECT_EQ(errno_of(SYS_ioctl, {0, TIOCLINUX | high_bit << 7, 0}), EPERM);
  EXPECT_EQ(errno_of(SYS_ioctl, {1000, FIONREAD, 0}), EBADF);
}

TEST(TheFilter, RefusesWhatReachesBeyondAProcess) {
  const long refused[] = {SYS_bpf,
                          SYS_perf_event_open,
                          SYS_userfaultfd,
                          SYS_kexec_load,
                          SYS_init_module,
                          SYS_finit_module,
                          SYS_delete_module,
                          SYS_acct,
                          SYS_swapon,
                          SYS_swapoff,
                          SYS_reboot,
                          SYS_settimeofday,
                          SYS_clock_settime,
                          SYS_adjtimex,
                          SYS_clock_adjtime,
                          SYS_quotactl,
                          SYS_syslog,
                          SYS_vhangup,
                          SYS_io_uring_setup,
                          SYS_io_uring_enter,
                          SYS_io_uring_register,
                          SYS_keyctl,
                          SYS_add_key,
                          SYS_request_key,
                          SYS_setns,
                          SYS_mount,
                          SYS_umount2,
                          SYS_pivot_root,
                          SYS_chroot,
                          SYS_fsopen,
                          SYS_fsconfig,
                          SYS_fsmount,
                          SYS_fspick,
                          SYS_open_tree,
                          SYS_move_mount,
                          SYS_mount_setattr,
                          SYS_open_by_handle_at,
                          SYS_name_to_handle_at,
                          SYS_sethostname,
                          SYS_setdomainname};
  for (const long number : refused) EXPECT_EQ(errno_of(number, {}), EPERM) << number;
}

TEST(TheFilter, AnswersUnknownCallsSoThatFallbacksWork) {
  EXPECT_EQ(errno_of(SYS_clone3, {}), ENOSYS);
  EXPECT_EQ(errno_of(SYS_openat2, {}), ENOSYS);
  for (const long number : {490L, 1000L, 100000L}) {
    EXPECT_EQ(errno_of(number, {}), ENOSYS) << number;
  }
#ifdef __x86_64__
  EXPECT_EQ(errno_of(0x40000000L + SYS_getpid, {}), ENOSYS);
#endif
}

#ifdef __x86_64__
TEST(TheFilter, AnswersThe32BitEntranceWithENOSYS) {
  EXPECT_EQ(errno_under_filter([]() -> long {
              long result = 20;  // getpid of the i386 table
              asm volatile("int $0x80" : "+a"(result) : : "memory");
              errno = static_cast<int>(-result);
              return result;
            }),
            ENOSYS);
}
#endif

TEST(TheFilter, LetsNobodyMakeNamespaces) {
  for (const unsigned long kind :
       {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS,
        CLONE_NEWCGROUP, 0x80 /* CLONE_NEWTIME */}) {
    EXPECT_EQ(errno_of(SYS_unshare, {kind}), EPERM) << kind;
    EXPECT_EQ(errno_of(SYS_unshare, {kind | CLONE_FILES}), EPERM) << kind;
    if (kind == 0x80) continue;  // clone(2) reads that bit as a signal
    EXPECT_EQ(errno_of(SYS_clone, {kind, 0, 0, 0, 0}), EPERM) << kind;
  }
  EXPECT_EQ(errno_of(SYS_unshare, {CLONE_FILES}), 0);
}

TEST(TheFilter, LetsNobodyMakeSetuidFiles) {
  const auto path = reinterpret_cast<unsigned long>("/proc/nothing/x");
  for (const unsigned long bits : {04755UL, 02755UL, 06000UL, 04000UL | high_bit}) {
    EXPECT_EQ(errno_of(SYS_chmod, {path, bits}), EPERM) << bits;
    EXPECT_EQ(errno_of(SYS_fchmod, {1000, bits}), EPERM);
    EXPECT_EQ(errno_of(SYS_fchmodat, {1000, path, bits}), EPERM);
    EXPECT_EQ(errno_of(SYS_creat, {path, bits}), EPERM);
    const int newer = errno_of(452 /* fchmodat2 */, {1000, path, bits, 0});
    EXPECT_TRUE(newer == EPERM || newer == ENOSYS) << newer;
    EXPECT_EQ(errno_of(SYS_mkdir, {path, bits}), EPERM);
    EXPECT_EQ(errno_of(SYS_mknodat, {1000, path, bits, 0}), EPERM);
    EXPECT_EQ(errno_of(SYS_open, {path, O_CREAT | O_WRONLY, bits}), EPERM);
    EXPECT_EQ(errno_of(SYS_openat, {1000, path, O_TMPFILE | O_RDWR, bits}), EPERM);
  }
  EXPECT_EQ(errno_of(SYS_chmod, {path, 01777}), ENOENT);
  EXPECT_EQ(errno_of(SYS_open, {path, O_CREAT | O_WRONLY, 0644}), ENOENT);
  // Without O_CREAT the third argument is no mode, and may be anything.
  EXPECT_EQ(errno_of(SYS_open, {path, O_RDONLY, 04755}), ENOENT);
}

TEST(TheFilter, LetsAProcessSetOnlyItsOwnLimits) {
  const rlimit64 none{0, 0};
  const auto limit = reinterpret_cast<unsigned long>(&none);
  const auto own = static_cast<unsigned long>(::getpid());
  for (const unsigned long pid : {own, 1UL, 1UL << 22, 1UL << 31, own | high_bit}) {
    EXPECT_EQ(errno_of(SYS_prlimit64, {pid, RLIMIT_CORE, limit, 0}), EPERM) << pid;
  }
  EXPECT_EQ(errno_of(SYS_prlimit64, {own, RLIMIT_CORE, 1UL << 40, 0}), EPERM);
  EXPECT_EQ(errno_of(SYS_prlimit64, {own, RLIMIT_CORE, 0, 0}), 0);
  for (const unsigned long caller : {0UL, high_bit}) {
    EXPECT_EQ(errno_of(SYS_prlimit64, {caller, RLIMIT_CORE, limit, 0}), 0) << caller;
  }
}

TEST(TheFilter, LetsNobodyMakeDeviceNodes) {
  const auto path = reinterpret_cast<unsigned long>("/proc/nothing/x");
  for (const unsigned long type : {S_IFCHR, S_IFBLK}) {
    for (const unsigned long mode : {type, type | 0666UL, type | high_bit, type | 1UL << 16}) {
      EXPECT_EQ(errno_of(SYS_mknod, {path, mode, 0}), EPERM) << mode;
      EXPECT_EQ(errno_of(SYS_mknodat, {1000, path, mode, 0}), EPERM) << mode;
    }
  }
  for (const unsigned long type : {0, S_IFREG, S_IFIFO, S_IFSOCK}) {
    EXPECT_EQ(errno_of(SYS_mknod, {path, type | 0644UL, 0}), ENOENT) << type;
    EXPECT_EQ(errno_of(SYS_mknodat, {0, path, type | 0644UL, 0}), ENOENT) << type;
  }
}

TEST(TheFilterOfAnOverlaysRoot, AnswersChangesOfOwnerWhereThereIsOneIdAndMakesNone) {
  const auto change_owner = [] { return ::syscall(SYS_fchown, -1, 12345, 12345); };
  const auto become_another = [] {
    return ::syscall(SYS_setresuid, 4242, 4242, 4242) == 0 && ::getuid() != 4242 ? 0L : -1L;
  };
  EXPECT_EQ(errno_for(FilterFor::root_of_one_id, change_owner), 0);
  EXPECT_EQ(errno_for(FilterFor::root_of_one_id, become_another), 0);
  EXPECT_EQ(errno_for(FilterFor::root_of_a_range, change_owner), EBADF);
  EXPECT_EQ(errno_for(FilterFor::agent, change_owner), EBADF);
}

TEST(TheFilterOfAnOverlaysRoot, LetsItChangeItsRootDirectoryAlone) {
  const auto change_root = [] { return ::syscall(SYS_chroot, "/nowhere"); };
  EXPECT_EQ(errno_for(FilterFor::agent, change_root), EPERM);
  EXPECT_EQ(errno_for(FilterFor::root_of_a_range, change_root), ENOENT);
}

}  // namespace
TEST(TheFilter, HoldsBackAnOverlaysProgramsAndItsSetIdModesTogether) {
  const auto with = compile_filter(FilterFor::root_of_a_range, HoldsBackExec::yes);
  const auto without = compile_filter(FilterFor::root_of_a_range);
  ASSERT_TRUE(with && without);
  for (const int call : {SYS_execve, SYS_execveat}) {
    EXPECT_EQ(run_filter(*with, call), SECCOMP_RET_USER_NOTIF);
    EXPECT_EQ(run_filter(*without, call), SECCOMP_RET_ALLOW);
  }
  for (const auto* filter : {&*with, &*without}) {
    EXPECT_EQ(run_filter(*filter, SYS_fchmod, {3, 04755}), SECCOMP_RET_USER_NOTIF);
    EXPECT_EQ(run_filter(*filter, SYS_fchmod, {3, 0755}), SECCOMP_RET_ALLOW);
  }
}

}  // namespace sluice::launcher
