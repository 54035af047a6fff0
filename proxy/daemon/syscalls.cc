#include "proxy/daemon/syscalls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <memory>
#include <type_traits>
#include <vector>

namespace sluice::proxy {
namespace {

using Names = std::initializer_list<const char*>;

// Of an int argument the kernel reads 32 bits: so does the filter, or the upper half would be a way
// past it.
constexpr scmp_datum_t int_bits = 0xffff'ffff;
constexpr scmp_datum_t socket_type_bits = 0xf;  // SOCK_TYPE_MASK, linux/net.h

constexpr scmp_arg_cmp is(unsigned argument, scmp_datum_t value, scmp_datum_t mask = int_bits) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value & mask};
}

constexpr Names allowed = {
    // bytes
    "read", "write", "readv", "writev", "pread64", "lseek", "sendto", "sendmsg", "sendmmsg",
    "recvfrom", "recvmsg", "recvmmsg", "splice", "pipe", "pipe2", "close", "dup", "dup2", "dup3",
    "fstat", "newfstatat",
    // sockets
    "connect", "accept", "accept4", "shutdown", "getsockname", "getpeername", "getsockopt",
    // waiting
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "timerfd_create",
    "timerfd_settime", "timerfd_gettime", "signalfd4", "poll", "ppoll", "select", "pselect6",
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
    // memory
    "munmap", "mremap", "madvise", "brk", "membarrier",
    // threads and signals of its own
    "set_robust_list", "rseq", "futex", "sched_yield", "sched_getaffinity", "getcpu", "exit",
    "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait",
    "rt_sigsuspend", "rt_sigpending", "sigaltstack", "restart_syscall",
    // what it is
    "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrandom",
    "getrusage", "getrlimit", "uname", "sysinfo"};

// libc asks for these first and has a way without them; EPERM it would believe.
constexpr Names unknown = {"clone3", "statx", "openat2", "faccessat2", "epoll_pwait2"};
constexpr Names no_files = {"open",     "openat",    "creat",    "stat",       "lstat",
                            "access",   "faccessat", "readlink", "readlinkat", "unlink",
                            "unlinkat", "getcwd",    "chdir"};
constexpr Names deadly = {"execve",           "execveat",          "ptrace",
                          "process_vm_readv", "process_vm_writev", "pidfd_getfd"};

struct Option {
  int level;
  int name;
};
constexpr std::initializer_list<Option> socket_options = {
    {SOL_SOCKET, SO_REUSEADDR},    {SOL_SOCKET, SO_KEEPALIVE},
    {SOL_SOCKET, SO_LINGER},       {SOL_SOCKET, SO_SNDBUF},
    {SOL_SOCKET, SO_RCVBUF},       {SOL_SOCKET, SO_RCVLOWAT},
    {SOL_SOCKET, SO_RCVTIMEO},     {SOL_SOCKET, SO_SNDTIMEO},
    {SOL_SOCKET, SO_ZEROCOPY},     {SOL_SOCKET, SO_INCOMING_CPU},
    {IPPROTO_TCP, TCP_NODELAY},    {IPPROTO_TCP, TCP_CORK},
    {IPPROTO_TCP, TCP_QUICKACK},   {IPPROTO_TCP, TCP_USER_TIMEOUT},
    {IPPROTO_TCP, TCP_KEEPIDLE},   {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},    {IPPROTO_TCP, TCP_NOTSENT_LOWAT},
    {IPPROTO_TCP, TCP_LINGER2},    {IPPROTO_TCP, TCP_SYNCNT},
    {IPPROTO_IP, IP_PKTINFO},      {IPPROTO_IP, IP_RECVERR},
    {IPPROTO_IP, IP_TOS},          {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
    {IPPROTO_IP, IP_MTU_DISCOVER}, {IPPROTO_IPV6, IPV6_V6ONLY},
    {IPPROTO_IPV6, IPV6_RECVERR},  {IPPROTO_IPV6, IPV6_RECVPKTINFO},
    {IPPROTO_IPV6, IPV6_TCLASS},   {IPPROTO_IPV6, IPV6_MTU_DISCOVER}};

// Collects rules; the first that libseccomp refuses is the error.
class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), ::seccomp_release) {
    if (!context_) {
      keep(-ENOMEM, "seccomp_init");
      return;
    }
    keep(::seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS),
         "badarch");
    // no_new_privs is set and checked by the caller.
    keep(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_NNP, 0), "nnp");
    // A binary tree: the calls that move bytes are not behind a hundred comparisons.
    keep(::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
  }

  void add(std::uint32_t action, const char* name,
           const std::vector<scmp_arg_cmp>& arguments = {}) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) return keep(-ENOSYS, name);
    if (number < 0) return;  // this architecture has none of that name
    keep(::seccomp_rule_add_array(context_.get(), action, number,
                                  static_cast<unsigned>(arguments.size()), arguments.data()),
         name);
  }
  void add_all(std::uint32_t action, Names names) {
    for (const char* name : names) add(action, name);
  }
  void allow(const char* name, const std::vector<scmp_arg_cmp>& arguments) {
    add(SCMP_ACT_ALLOW, name, arguments);
  }
  // One rule for each value of an int argument.
  template <class Values>
  void allow_values(const char* name, unsigned argument, const Values& values) {
    for (const auto value : values) allow(name, {is(argument, static_cast<scmp_datum_t>(value))});
  }

  Result<void> load() {
    if (error_ == 0) keep(::seccomp_load(context_.get()), "seccomp_load");
    if (error_ == 0) return {};
    return Failure(errno_error(Errc::not_permitted,
                               fmt::format("cannot restrict system calls ('{}')", failed_), -error_,
                               "this kernel needs CONFIG_SECCOMP_FILTER"));
  }

 private:
  void keep(int result, const char* what) {
    if (result == 0 || error_ != 0) return;
    error_ = result;
    failed_ = what;
  }

  int error_ = 0;
  const char* failed_ = "";
  std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, void (*)(scmp_filter_ctx)> context_;
};

// TCP, UDP and route questions. No AF_UNIX: the abstract sockets of the machine share its network
// namespace.
void allow_sockets(Filter& filter) {
  struct Kind {
    int domain;
    int type;
    int protocol;
  };
  for (const int domain : {AF_INET, AF_INET6}) {
    for (const Kind& kind : {Kind{domain, SOCK_STREAM, 0}, Kind{domain, SOCK_STREAM, IPPROTO_TCP},
                             Kind{domain, SOCK_DGRAM, 0}, Kind{domain, SOCK_DGRAM, IPPROTO_UDP}}) {
      filter.allow("socket",
                   {is(0, kind.domain), is(1, kind.type, socket_type_bits), is(2, kind.protocol)});
    }
  }
  for (const int type : {SOCK_RAW, SOCK_DGRAM}) {
    filter.allow("socket",
                 {is(0, AF_NETLINK), is(1, type, socket_type_bits), is(2, NETLINK_ROUTE)});
  }
  for (const auto& [level, name] : socket_options) {
    filter.allow("setsockopt", {is(1, level), is(2, name)});
  }
}

void allow_descriptors(Filter& filter) {
  // Not F_SETOWN: it aims signals at other processes.
  filter.allow_values("fcntl", 1,
                      std::array{F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD, F_DUPFD_CLOEXEC,
                                 F_SETPIPE_SZ, F_GETPIPE_SZ});
  filter.allow_values("ioctl", 1, std::array{FIONBIO, FIONREAD});
}

void allow_threads(Filter& filter) {
  constexpr scmp_datum_t thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  constexpr scmp_datum_t never = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE |
                                 CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD;
  filter.allow("clone", {is(0, thread, thread | never)});
  // abort(3) and pthread_kill(3), at itself.
  filter.allow("tgkill", {is(0, static_cast<scmp_datum_t>(::getpid()))});
  filter.allow_values(
      "prctl", 0,
      std::array{PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS});
  // Reading limits: there is nothing behind the pointer to new ones.
  filter.allow("prlimit64", {is(0, 0), scmp_arg_cmp{2, SCMP_CMP_EQ, 0, 0}});
}

}  // namespace

Result<void> restrict_syscalls() {
  Filter filter;
  filter.add_all(SCMP_ACT_ALLOW, allowed);
  filter.add_all(SCMP_ACT_ERRNO(ENOSYS), unknown);
  filter.add_all(SCMP_ACT_ERRNO(EACCES), no_files);
  filter.add_all(SCMP_ACT_KILL_PROCESS, deadly);
  allow_sockets(filter);
  allow_descriptors(filter);
  allow_threads(filter);
  for (const char* name : {"mmap", "mprotect"}) filter.allow(name, {is(2, 0, PROT_EXEC)});
  return filter.load();
}

}  // namespace sluice::proxy
