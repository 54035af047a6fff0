#include "proxy/daemon/enclose.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/io.h"

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

constexpr uid_t test_uid = 1895890943;

Enclosure enclosure() { return ::geteuid() == 0 ? Enclosure{test_uid} : Enclosure{}; }

// What a child found wrong, one sentence a line.
class Report {
 public:
  explicit Report(int fd) : fd_(fd) {}
  void say(std::string_view sentence) {
    (void)write_all(fd_, "report", fmt::format("{}\n", sentence));
  }
  void want(bool holds, std::string_view sentence) {
    if (!holds) say(fmt::format("{} (errno {})", sentence, errno));
  }
  // `result` is what a system call answered just before.
  void refused(std::string_view name, long result, int error_number) {
    const int found = errno;
    if (result >= 0) return say(fmt::format("{} was allowed", name));
    if (found != error_number) {
      say(fmt::format("{}: errno {}, not {}", name, found, error_number));
    }
  }

 private:
  int fd_;
};

struct Pipe {
  Fd reader;
  Fd writer;
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
};

struct Outcome {
  std::string report;
  int status = 0;  // waitpid(2)
};

using Body = std::function<void(Report&)>;

// Runs `body` in a child and waits for its end.
Outcome in_child(const Body& body) {
  Pipe pipe;
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    Report report(pipe.writer.get());
    body(report);
    ::_exit(0);
  }
  pipe.writer.reset();
  Outcome outcome;
  outcome.report = read_fd(pipe.reader.get(), "report", 1 << 20).value_or("");
  EXPECT_EQ(::waitpid(child, &outcome.status, 0), child);
  return outcome;
}

Outcome enclosed(const Body& body) {
  return in_child([&](Report& report) {
    if (const auto closed = enclose(enclosure()); !closed)
      return report.say(to_string(closed.error()));
    body(report);
  });
}

void expect_holds(const Body& body) {
  const Outcome outcome = enclosed(body);
  EXPECT_EQ(outcome.report, "");
  EXPECT_TRUE(WIFEXITED(outcome.status)) << "status " << outcome.status;
}

void expect_killed(const Body& body) {
  const Outcome outcome = enclosed([&](Report& report) {
    body(report);
    report.say("lived on");
  });
  EXPECT_EQ(outcome.report, "");
  EXPECT_TRUE(WIFSIGNALED(outcome.status)) << "status " << outcome.status;
}

sockaddr_in loopback(std::uint16_t port = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

const sockaddr* any(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// A socket on a free port of 127.0.0.1, as one that was handed over.
Fd bound(int type, sockaddr_in& address) {
  Fd socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  address = loopback();
  EXPECT_EQ(::bind(socket.get(), any(address), sizeof address), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(socket.get(), 8), 0);
  }
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return socket;
}

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
    ::alarm(20);
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

TEST(Enclosure, KeepsThreads) {
  expect_holds([](Report& report) {
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 1; i <= 8; ++i) {
      threads.emplace_back([&sum, i] {
        std::vector<char> memory(4 << 20, 'x');
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        sum += i + static_cast<int>(memory[1] - 'x');
      });
    }
    for (auto& thread : threads) thread.join();
    report.want(sum == 36, "threads");
    report.want(std::thread::hardware_concurrency() > 0, "sched_getaffinity");
    // A thread is as enclosed as the one that called.
    std::thread([&report] {
      report.refused("open in a thread", ::open("/", O_RDONLY), EACCES);
      report.refused("socket in a thread", ::socket(AF_UNIX, SOCK_STREAM, 0), EPERM);
    }).join();
  });
}

void talk_tcp(Report& report, int listener, const sockaddr_in& address) {
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  report.want(static_cast<bool>(client), "socket");
  const int on = 1;
  report.want(::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0,
              "TCP_NODELAY");
  report.want(::connect(client.get(), any(address), sizeof address) == 0 || errno == EINPROGRESS,
              "connect");
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLOUT | EPOLLET;
  report.want(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, client.get(), &event) == 0, "epoll_ctl");
  report.want(::epoll_wait(epoll.get(), &event, 1, 2000) == 1, "epoll_wait");
  int error = -1;
  socklen_t size = sizeof error;
  report.want(::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0,
              "SO_ERROR");

  const Fd server(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  report.want(static_cast<bool>(server), "accept4");
  report.want(::send(client.get(), "hello", 5, MSG_NOSIGNAL) == 5, "send");
  std::array<int, 2> pipe{};
  report.want(::pipe2(pipe.data(), O_NONBLOCK | O_CLOEXEC) == 0, "pipe2");
  report.want(::fcntl(pipe[1], F_SETPIPE_SZ, 65536) > 0, "F_SETPIPE_SZ");
  report.want(::splice(server.get(), nullptr, pipe[1], nullptr, 65536, SPLICE_F_MOVE) == 5,
              "splice in");
  report.want(::splice(pipe[0], nullptr, server.get(), nullptr, 5, 0) == 5, "splice out");
  pollfd ready{client.get(), POLLIN, 0};
  report.want(::poll(&ready, 1, 2000) == 1, "poll");
  std::array<char, 8> text{};
  report.want(::recv(client.get(), text.data(), text.size(), 0) == 5, "recv");
  report.want(std::strcmp(text.data(), "hello") == 0, "echo");
  report.want(::shutdown(client.get(), SHUT_WR) == 0, "shutdown");
  const linger reset{1, 0};
  report.want(::setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0,
              "SO_LINGER");
}

TEST(Enclosure, KeepsTcp) {
  sockaddr_in address{};
  const Fd listener = bound(SOCK_STREAM, address);
  expect_holds([&](Report& report) { talk_tcp(report, listener.get(), address); });
}

TEST(Enclosure, KeepsUdpAndDescriptorsThatAreHanded) {
  sockaddr_in address{};
  const Fd server = bound(SOCK_DGRAM, address);
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  const Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  expect_holds([&](Report& report) {
    const Fd client(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    report.want(::connect(client.get(), any(address), sizeof address) == 0, "connect");
    report.want(::send(client.get(), "q", 1, 0) == 1, "send");
    std::array<char, 16> bytes{};
    sockaddr_in from{};
    iovec piece{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    report.want(::recvmsg(server.get(), &message, 0) == 1, "recvmsg");
    report.want(::sendto(server.get(), "a", 1, 0, any(from), sizeof from) == 1, "sendto");
    report.want(::recv(client.get(), bytes.data(), bytes.size(), 0) == 1, "recv");

    // A descriptor over an inherited socket, as listeners arrive.
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr handover{};
    handover.msg_iov = &piece;
    handover.msg_iovlen = 1;
    handover.msg_control = control.data();
    handover.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&handover);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int handed = server.get();
    std::memcpy(CMSG_DATA(header), &handed, sizeof handed);
    report.want(::sendmsg(ours.get(), &handover, 0) > 0, "sendmsg with a descriptor");
    report.want(::recvmsg(theirs.get(), &handover, MSG_CMSG_CLOEXEC) > 0,
                "recvmsg with a descriptor");
  });
}

TEST(Enclosure, KeepsClocksTimersEventsRandomnessAndRouteQuestions) {
  expect_holds([](Report& report) {
    const Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    itimerspec soon{};
    soon.it_value.tv_nsec = 1000000;
    report.want(::timerfd_settime(timer.get(), 0, &soon, nullptr) == 0, "timerfd_settime");
    std::uint64_t count = 0;
    report.want(::read(timer.get(), &count, sizeof count) == sizeof count && count == 1, "timer");
    const Fd event(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
    report.want(::read(event.get(), &count, sizeof count) == sizeof count, "eventfd");
    std::array<char, 32> bytes{};
    report.want(::getrandom(bytes.data(), bytes.size(), 0) == 32, "getrandom");
    report.want(std::chrono::system_clock::now().time_since_epoch().count() > 0, "clock");
    rusage usage{};
    report.want(::getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
    rlimit files{};
    report.want(::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > 0, "getrlimit");
    const Fd route(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    report.want(static_cast<bool>(route), "route socket");
    int on = 1;
    report.want(::ioctl(route.get(), FIONBIO, &on) == 0, "FIONBIO");
    report.want(std::fprintf(stderr, "%s", "") == 0 && std::fflush(nullptr) == 0, "stdio");
  });
}

TEST(EnclosureOfRoot, RefusesToEncloseRootAsRoot) {
  const struct {
    Enclosure enclosure;
    std::string_view error;
  } cases[] = {
      {{}, "error: root cannot be enclosed as root\nhint: name a uid to become"},
      {{0}, "error: '0' is not a uid to become\nhint: name one from the range reserved for sluice"},
      {{static_cast<uid_t>(-1)},
       "error: '4294967295' is not a uid to become\nhint: name one from the range reserved for "
       "sluice"}};
  for (const auto& [wrong, error] : cases) {
    const auto closed = enclose(wrong);
    ASSERT_FALSE(closed);
    EXPECT_EQ(to_string(closed.error()), error);
  }
}

TEST(EnclosureOfUser, RefusesToGiveAnOrdinaryUserAnotherUid) {
  const auto closed = enclose({test_uid});
  ASSERT_FALSE(closed);
  EXPECT_EQ(to_string(closed.error()),
            "error: only root can become uid 1895890943\nhint: leave the uid out");
}

TEST(Enclosure, RefusesAProcessThatAlreadyHasThreads) {
  const Outcome outcome = in_child([](Report& report) {
    Pipe pipe;
    std::thread other([&pipe] {
      char byte = 0;
      (void)!::read(pipe.reader.get(), &byte, 1);
    });
    const auto closed = enclose(enclosure());
    report.say(closed ? "enclosed" : to_string(closed.error()));
    pipe.writer.reset();
    other.join();
  });
  EXPECT_EQ(outcome.report,
            "error: cannot make user, mount, IPC and UTS namespaces: Invalid argument\n"
            "hint: the kernel needs CONFIG_USER_NS, and the process one thread only\n");
}

// A kernel in which `call` answers with an error, or with success though it did nothing (0).
void spoil(const char* call, int error_number) {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  const auto action = SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error_number));
  EXPECT_EQ(::seccomp_rule_add(filter, action, ::seccomp_syscall_resolve_name(call), 0), 0);
  EXPECT_EQ(::seccomp_load(filter), 0);
  ::seccomp_release(filter);
}

std::string enclosed_where(const char* call, int error_number) {
  return in_child([&](Report& report) {
           spoil(call, error_number);
           const auto closed = enclose(enclosure());
           report.say(closed ? "enclosed" : to_string(closed.error()));
         })
      .report;
}

TEST(Enclosure, StandsWithoutLandlock) {
  for (const int error_number : {ENOSYS, EOPNOTSUPP}) {
    EXPECT_EQ(enclosed_where("landlock_create_ruleset", error_number), "enclosed\n");
  }
}

TEST(Enclosure, IsRefusedWhenAnyStepFails) {
  const struct {
    const char* call;
    int error_number;
    std::string_view error;
  } cases[] = {
      {"unshare", ENOSPC,
       "error: cannot make user, mount, IPC and UTS namespaces: No space left on device\n"
       "hint: raise it: sysctl -w user.max_user_namespaces=10000\n"},
      {"unshare", EPERM,
       "error: cannot make user, mount, IPC and UTS namespaces: Operation not permitted\n"
       "hint: allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, or with "
       "AppArmor "
       "kernel.apparmor_restrict_unprivileged_userns=0\n"},
      {"mount", EPERM, "error: cannot make mounts private: Operation not permitted\n"},
      {"pivot_root", EINVAL,
       "error: pivot_root: Invalid argument\n"
       "hint: an initramfs cannot be left: start from a mounted root\n"},
      {"umount2", EPERM, "error: cannot unmount the old root: Operation not permitted\n"},
      {"umount2", 0, "error: the old root can still be seen\n"},
      {"capset", EPERM, "error: cannot drop capabilities: Operation not permitted\n"},
      {"capset", 0, "error: capabilities are left after dropping all\n"},
      {"landlock_create_ruleset", EINVAL, "error: Landlock's version: Invalid argument\n"},
      {"landlock_restrict_self", EPERM, "error: cannot enter Landlock: Operation not permitted\n"},
      {"seccomp", 0, "error: the enclosed process can open '/'\n"},
  };
  for (const auto& [call, error_number, error] : cases) {
    EXPECT_EQ(enclosed_where(call, error_number), error) << call << ' ' << error_number;
  }
}

TEST(EnclosureOfRoot, IsRefusedWhenRootCannotBeLeft) {
  EXPECT_EQ(enclosed_where("setgroups", EPERM), "error: setgroups: Operation not permitted\n");
  EXPECT_EQ(enclosed_where("setresgid", EPERM),
            "error: setresgid to 1895890943: Operation not permitted\n");
  EXPECT_EQ(enclosed_where("setresuid", EAGAIN),
            "error: setresuid to 1895890943: Resource temporarily unavailable\n");
  EXPECT_NE(enclosed_where("setresuid", 0), "enclosed\n");
  EXPECT_NE(enclosed_where("setresgid", 0), "enclosed\n");
  EXPECT_NE(enclosed_where("setgroups", 0), "enclosed\n");
}

}  // namespace
}  // namespace sluice::proxy
