#include "proxy/daemon/enclose.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

#include "base/io.h"
#include "tests/unit/proxy_daemon/enclosed_child.h"

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

TEST(Enclosure, OpensNoFile) {
  const Fd old_root(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(old_root);
  expect_holds([&](Report& report) {
    for (const char* path :
         {"/", ".", "..", "/proc", "/proc/self/status", "/etc/passwd", "/dev/null"}) {
      report.refused(path, ::open(path, O_RDONLY | O_CLOEXEC), EACCES);
      report.refused(path, ::open(path, O_PATH | O_CLOEXEC), EACCES);
    }
    report.refused("openat", ::openat(old_root.get(), "etc/passwd", O_RDONLY | O_CLOEXEC), EACCES);
    report.refused("openat ..", ::openat(AT_FDCWD, "../../etc", O_RDONLY | O_CLOEXEC), EACCES);
    report.refused("create", ::open("/new", O_RDWR | O_CREAT | O_CLOEXEC, 0600), EACCES);
    report.refused("openat2", ::syscall(SYS_openat2, AT_FDCWD, "/", nullptr, 0), ENOSYS);
    struct stat status {};
    report.refused("stat", ::stat("/etc/passwd", &status), ENOENT);
    report.refused("stat /proc/self", ::stat("/proc/self", &status), ENOENT);
    report.refused("mkdir", ::mkdir("/d", 0700), EPERM);
    report.refused("unlink", ::unlink("/etc/passwd"), EACCES);
    report.refused("rename", ::rename("/etc", "/x"), EPERM);
    report.refused("chroot", ::chroot("."), EPERM);
    report.refused("fchdir", ::fchdir(old_root.get()), EPERM);
    report.refused("open_by_handle_at", ::syscall(SYS_open_by_handle_at, 3, nullptr, 0), EPERM);
    report.refused("memfd_create", ::memfd_create("x", 0), EPERM);
  });
}

// Calls `look` with the pid of a child that is enclosed and waits.
void look_from_outside(const std::function<void(pid_t)>& look) {
  Pipe ready;
  Pipe over;
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    over.writer.reset();
    char byte = 0;
    if (enclose(enclosure()) && ::write(ready.writer.get(), "x", 1) == 1) {
      (void)!::read(over.reader.get(), &byte, 1);
    }
    ::_exit(0);
  }
  ready.writer.reset();
  char byte = 0;
  EXPECT_EQ(::read(ready.reader.get(), &byte, 1), 1);
  look(child);
  over.writer.reset();
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}

std::string proc_file(pid_t pid, std::string_view name) {
  return read_file(fmt::format("/proc/{}/{}", pid, name), 1 << 16).value_or("");
}

// The file system must be empty also for one who gets past the list of system calls.
TEST(Enclosure, HasAnEmptyReadOnlyRootAndNothingElseMounted) {
  look_from_outside([](pid_t pid) {
    EXPECT_THAT(
        proc_file(pid, "mountinfo"),
        MatchesRegex("[0-9]+ [0-9]+ [0-9:]+ / / ro,nosuid,nodev,noexec[^\n]* - tmpfs [^\n]*\n"));
  });
}

TEST(Enclosure, HasNoPrivilegeLeft) {
  look_from_outside([](pid_t pid) {
    const std::string status = proc_file(pid, "status");
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
      EXPECT_THAT(status, HasSubstr(fmt::format("{}:\t0000000000000000\n", set)));
    }
    EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
    EXPECT_THAT(status, HasSubstr("Seccomp:\t2\n"));
  });
}

TEST(EnclosureOfRoot, IsAnotherUserInNoGroup) {
  look_from_outside([](pid_t pid) {
    const std::string status = proc_file(pid, "status");
    EXPECT_THAT(status, HasSubstr(fmt::format("Uid:\t{0}\t{0}\t{0}\t{0}\n", test_uid)));
    EXPECT_THAT(status, HasSubstr(fmt::format("Gid:\t{0}\t{0}\t{0}\t{0}\n", test_uid)));
    EXPECT_THAT(status, HasSubstr("Groups:\t \n"));
  });
}

TEST(EnclosureOfUser, HidesItsMemoryFromOtherProcessesOfTheUser) {
  look_from_outside([](pid_t pid) {
    for (const char* name : {"environ", "mem", "maps"}) {
      EXPECT_FALSE(read_file(fmt::format("/proc/{}/{}", pid, name), 1 << 16)) << name;
    }
    EXPECT_NE(::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr), 0);
  });
}

TEST(Enclosure, CannotBeDumpedOrGainPrivileges) {
  expect_holds([](Report& report) {
    report.want(::prctl(PR_GET_DUMPABLE) == 0, "dumpable");
    report.refused("PR_SET_DUMPABLE", ::prctl(PR_SET_DUMPABLE, 1), EPERM);
    report.refused("PR_SET_SECCOMP", ::prctl(PR_SET_SECCOMP, 2, nullptr), EPERM);
    report.refused("PR_SET_PTRACER", ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY), EPERM);
    rlimit core{};
    report.want(::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max <= 1, "core limit");
    const rlimit files{16, 16};
    report.refused("setrlimit", ::setrlimit(RLIMIT_NOFILE, &files), EPERM);
    report.refused("setuid", ::setuid(0), EPERM);
    report.refused("setresuid", ::setresuid(0, 0, 0), EPERM);
    report.refused("setgroups", ::syscall(SYS_setgroups, 0, nullptr), EPERM);
    report.refused("capset", ::syscall(SYS_capset, nullptr, nullptr), EPERM);
    report.refused("unshare", ::unshare(CLONE_NEWUSER), EPERM);
    report.refused("setns", ::setns(0, 0), EPERM);
    report.refused("mount", ::syscall(SYS_mount, "n", "/", "proc", 0, nullptr), EPERM);
    report.refused("bpf", ::syscall(SYS_bpf, 0, nullptr, 0), EPERM);
    report.refused("io_uring_setup", ::syscall(SYS_io_uring_setup, 1, nullptr), EPERM);
    report.refused("keyctl", ::syscall(SYS_keyctl, 0, 0, 0, 0, 0), EPERM);
    report.refused("userfaultfd", ::syscall(SYS_userfaultfd, 0), EPERM);
    report.refused("perf_event_open", ::syscall(SYS_perf_event_open, nullptr, 0, 0, 0, 0), EPERM);
    report.refused("shmget", ::shmget(IPC_PRIVATE, 4096, IPC_CREAT), EPERM);
  });
}

TEST(Enclosure, StartsNoProcess) {
  expect_holds([](Report& report) {
    // glibc's fork() and posix_spawn() go through clone, vfork or clone3.
    const long forked = ::syscall(SYS_fork);
    if (forked == 0) ::_exit(0);
    report.refused("fork", forked, EPERM);
    const pid_t cloned = ::fork();
    if (cloned == 0) ::_exit(0);
    report.refused("fork(3)", cloned, EPERM);
    report.refused("clone3", ::syscall(SYS_clone3, nullptr, 0), ENOSYS);
    constexpr long thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
    report.refused("clone CLONE_VM", ::syscall(SYS_clone, CLONE_VM | SIGCHLD, 0, 0, 0, 0), EPERM);
    report.refused("clone into a namespace",
                   ::syscall(SYS_clone, thread | CLONE_NEWUSER, 0, 0, 0, 0), EPERM);
  });
  const struct {
    const char* name;
    Body body;
  } deadly[] = {
      {"execve",
       [](Report&) {
         std::array<char*, 1> none = {nullptr};
         ::execve("/bin/true", none.data(), none.data());
       }},
      {"fexecve", [](Report&) { ::syscall(SYS_execveat, 0, "", nullptr, nullptr, AT_EMPTY_PATH); }},
      {"ptrace", [](Report&) { ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
      {"process_vm_readv",
       [](Report&) { ::process_vm_readv(::getppid(), nullptr, 0, nullptr, 0, 0); }},
      {"x32", [](Report&) { ::syscall(0x4000'0000 | SYS_getpid); }},
  };
  for (const auto& [name, body] : deadly) {
    SCOPED_TRACE(name);
    expect_killed(body);
  }
}

TEST(Enclosure, MakesNoSocketBesidesTcpUdpAndRouteQuestions) {
  sockaddr_in address{};
  const Fd listener = bound(SOCK_STREAM, address);
  expect_holds([&](Report& report) {
    const struct {
      const char* name;
      long domain;
      long type;
      long protocol;
    } cases[] = {{"unix stream", AF_UNIX, SOCK_STREAM, 0},
                 {"unix datagram", AF_UNIX, SOCK_DGRAM, 0},
                 {"raw", AF_INET, SOCK_RAW, IPPROTO_TCP},
                 {"ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
                 {"mptcp", AF_INET, SOCK_STREAM, 262},
                 {"sctp", AF_INET, SOCK_STREAM, IPPROTO_SCTP},
                 {"packet", AF_PACKET, SOCK_DGRAM, 0},
                 {"netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER},
                 {"audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT},
                 {"alg", AF_ALG, SOCK_SEQPACKET, 0},
                 {"vsock", AF_VSOCK, SOCK_STREAM, 0},
                 {"vsock with high bits", AF_VSOCK + (1L << 32), SOCK_STREAM, 0},
                 {"unix with high bits", AF_UNIX + (1L << 32), SOCK_STREAM, 0}};
    for (const auto& [name, domain, type, protocol] : cases) {
      report.refused(name, ::syscall(SYS_socket, domain, type, protocol), EPERM);
    }
    std::array<int, 2> pair{};
    report.refused("socketpair", ::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()), EPERM);
    const Fd fresh(::socket(AF_INET, SOCK_STREAM, 0));
    report.refused("bind", ::bind(fresh.get(), any(loopback()), sizeof(sockaddr_in)), EPERM);
    report.refused("listen", ::listen(fresh.get(), 1), EPERM);
    const std::uint64_t zeros = 0;
    report.refused("SO_ATTACH_FILTER",
                   ::setsockopt(fresh.get(), SOL_SOCKET, SO_ATTACH_FILTER, &zeros, sizeof zeros),
                   EPERM);
    report.refused("TCP_ULP", ::setsockopt(fresh.get(), IPPROTO_TCP, TCP_ULP, "tls", 3), EPERM);
  });
}

TEST(Enclosure, ReachesNoOtherProcessWithSignals) {
  expect_holds([](Report& report) {
    report.refused("kill", ::kill(::getppid(), 0), EPERM);
    report.refused("tgkill", ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0), EPERM);
    report.refused("rt_sigqueueinfo", ::syscall(SYS_rt_sigqueueinfo, ::getppid(), 0, nullptr),
                   EPERM);
    report.refused("pidfd_open", ::syscall(SYS_pidfd_open, ::getppid(), 0), EPERM);
    const Fd socket(::socket(AF_INET, SOCK_DGRAM, 0));
    report.refused("F_SETOWN", ::fcntl(socket.get(), F_SETOWN, ::getppid()), EPERM);
    report.refused("FIOSETOWN", ::ioctl(socket.get(), 0x8901, nullptr), EPERM);
    report.refused("TIOCSTI", ::ioctl(0, TIOCSTI, "x"), EPERM);
    report.refused("TIOCSTI with high bits", ::syscall(SYS_ioctl, 0, TIOCSTI + (1L << 32), "x"),
                   EPERM);
  });
  expect_killed([](Report&) { std::abort(); });  // itself it may end
}

TEST(Enclosure, MakesNoMemoryExecutable) {
  expect_holds([](Report& report) {
    constexpr int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    const auto mapped = [](int protection) {
      return ::mmap(nullptr, 4096, protection, anonymous, -1, 0);
    };
    report.want(mapped(PROT_READ | PROT_EXEC) == MAP_FAILED, "mmap PROT_EXEC was allowed");
    void* page = mapped(PROT_READ | PROT_WRITE);
    report.want(page != MAP_FAILED, "mmap");
    report.refused("mprotect", ::mprotect(page, 4096, PROT_READ | PROT_EXEC), EPERM);
    report.refused("mprotect with high bits",
                   ::syscall(SYS_mprotect, page, 4096, PROT_EXEC + (1L << 32)), EPERM);
    report.refused("pkey_mprotect", ::syscall(SYS_pkey_mprotect, page, 4096, PROT_EXEC, -1), EPERM);
    report.want(::mprotect(page, 4096, PROT_READ) == 0 && ::munmap(page, 4096) == 0, "mprotect");
  });
}

}  // namespace
}  // namespace sluice::proxy
