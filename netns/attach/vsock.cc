#include "netns/attach/vsock.h"

#include <linux/audit.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/fd.h"
#include "base/io.h"

namespace sluice::netns {
namespace {

constexpr std::array<int, 4> types{SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET,
                                   SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK};

// socket(2) takes an int, and the kernel looks at the low half of the register alone: a filter that
// compares all of it, as seccomp_rule_add(3) does, is passed by these.
constexpr std::array<std::uint64_t, 4> upper_halves{
    0, std::uint64_t{1} << 32, std::uint64_t{0x7fffffff} << 32, std::uint64_t{0xffffffff} << 32};

struct Convention {
  std::uint32_t architecture;  // AUDIT_ARCH_*
  int socket;                  // the call's numbers there
  int io_uring_setup;
  std::string_view socket_name;
  std::string_view io_uring_name;
};

seccomp_data call_of(std::uint32_t architecture, int number, std::uint64_t first = 0,
                     std::uint64_t second = 0) {
  seccomp_data call{};
  call.arch = architecture;
  call.nr = number;
  call.args[0] = first;
  call.args[1] = second;
  return call;
}

bool has_family() {
  const Fd socket(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return socket || errno != EAFNOSUPPORT;
}

bool has_io_uring() {
  // 2: nobody may, admin-guide/sysctl/kernel.rst. Nothing is made: there is no argument.
  const auto disabled = read_file("/proc/sys/kernel/io_uring_disabled", 16);
  if (disabled && disabled->starts_with('2')) return false;
  return ::syscall(SYS_io_uring_setup, 1, nullptr) >= 0 || errno != ENOSYS;
}

void add_sockets(const Convention& convention, std::vector<VsockWay>& ways) {
  const bool is_wide = (convention.architecture & __AUDIT_ARCH_64BIT) != 0;
  for (const std::uint64_t upper : upper_halves) {
    if (upper != 0 && !is_wide) continue;
    for (const int type : types) {
      ways.push_back(
          {convention.socket_name, call_of(convention.architecture, convention.socket,
                                           upper | AF_VSOCK, static_cast<std::uint64_t>(type))});
    }
  }
}

#if defined(__x86_64__)

constexpr Convention native{AUDIT_ARCH_X86_64, SYS_socket, SYS_io_uring_setup, "socket",
                            "io_uring_setup"};
constexpr Convention compatible{AUDIT_ARCH_I386, 359, 425, "socket (32-bit)",
                                "io_uring_setup (32-bit)"};
constexpr int x32_bit = 0x40000000;

// getpid by the 32-bit entry, in a child: without CONFIG_IA32_EMULATION it is killed for it.
bool has_compatible() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_DUMPABLE, 0);  // no core file of it
    long number = 20;
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
    ::_exit(number > 0 ? 0 : 1);
  }
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child < 0 || status == 0;
}

void add_others(std::vector<VsockWay>& ways) {
  if (::syscall(x32_bit | SYS_getpid) > 0) {
    add_sockets({AUDIT_ARCH_X86_64, x32_bit | SYS_socket, 0, "socket (x32)", ""}, ways);
  }
  // socketcall(2): SYS_SOCKET is 1, the family stands in memory.
  if (has_compatible()) ways.push_back({"socketcall (32-bit)", call_of(AUDIT_ARCH_I386, 102, 1)});
}

#elif defined(__aarch64__)

constexpr Convention native{AUDIT_ARCH_AARCH64, SYS_socket, SYS_io_uring_setup, "socket",
                            "io_uring_setup"};
constexpr Convention compatible{AUDIT_ARCH_ARM, 281, 425, "socket (32-bit)",
                                "io_uring_setup (32-bit)"};

bool has_compatible() { return true; }  // not to be found out without a 32-bit program

void add_others(std::vector<VsockWay>&) {}

#else
#error "the system call numbers of this architecture are missing"
#endif

void add_ways(const Convention& convention, std::vector<VsockWay>& ways) {
  add_sockets(convention, ways);
  if (!has_io_uring()) return;
  ways.push_back({convention.io_uring_name,
                  call_of(convention.architecture, convention.io_uring_setup, 8, 4096)});
}

}  // namespace

std::vector<VsockWay> vsock_ways() {
  std::vector<VsockWay> ways;
  if (!has_family()) return ways;
  add_ways(native, ways);
  if (has_compatible()) add_ways(compatible, ways);
  add_others(ways);
  return ways;
}

}  // namespace sluice::netns
