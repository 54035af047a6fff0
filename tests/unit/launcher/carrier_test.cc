#include "launcher/supervision/carrier.h"

#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>

namespace sluice::launcher {
namespace {

constexpr std::uint32_t refused = SECCOMP_RET_ERRNO | EPERM;

TEST(TheCarriersFilter, LeavesItWhatCarryingNeeds) {
  const auto filter = carrier_filter();
  ASSERT_TRUE(filter);
  for (const int call : {SYS_read, SYS_write, SYS_sendto, SYS_close, SYS_brk, SYS_munmap,
                         SYS_mremap, SYS_exit_group, SYS_clock_gettime}) {
    EXPECT_EQ(run_filter(*filter, call), SECCOMP_RET_ALLOW) << call;
  }
  EXPECT_EQ(run_filter(*filter, SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(run_filter(*filter, SYS_ioctl, {3, FIONREAD}), SECCOMP_RET_ALLOW);
}

TEST(TheCarriersFilter, LeavesItNothingElse) {
  const auto filter = carrier_filter();
  ASSERT_TRUE(filter);
  for (const int call : {SYS_openat,
                         SYS_openat2,
                         SYS_socket,
                         SYS_connect,
                         SYS_sendmsg,
                         SYS_execve,
                         SYS_execveat,
                         SYS_clone,
                         SYS_clone3,
                         SYS_ptrace,
                         SYS_process_vm_readv,
                         SYS_process_vm_writev,
                         SYS_pidfd_open,
                         SYS_pidfd_getfd,
                         SYS_kill,
                         SYS_tgkill,
                         SYS_prctl,
                         SYS_mprotect,
                         SYS_unshare,
                         SYS_setns,
                         SYS_mount,
                         SYS_bpf,
                         SYS_io_uring_setup,
                         SYS_memfd_create,
                         SYS_dup,
                         SYS_fcntl,
                         SYS_splice,
                         SYS_prlimit64,
                         SYS_seccomp}) {
    EXPECT_EQ(run_filter(*filter, call), refused) << call;
  }
  EXPECT_EQ(run_filter(*filter, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC}), refused);
  EXPECT_EQ(run_filter(*filter, SYS_ioctl, {3, TIOCSTI}), refused);
}

}  // namespace
}  // namespace sluice::launcher
