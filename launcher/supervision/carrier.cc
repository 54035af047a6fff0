#include "launcher/supervision/carrier.h"

#include <fmt/core.h>
#include <poll.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "launcher/sandbox/privileges.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t int_bits = 0xffff'ffff;
constexpr std::string_view is_carrying = "c";  // its first word; or why it cannot

Result<void> become(const char* name, const std::vector<int>& kept, pid_t parent) {
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (std::find(kept.begin(), kept.end(), standard) == kept.end()) ::close(standard);
  }
  if (auto closed = close_all_but(kept); !closed) return closed;
  if (auto dies = die_with_parent(); !dies) return dies;
  if (::getppid() != parent) return fail(Errc::unavailable, "its parent has ended");
  if (::prctl(PR_SET_NAME, name) != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0 ||
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fail_errno(Errc::unavailable, "prctl");
  }
  const auto filter = carrier_filter();
  return filter ? load_filter(*filter) : Result<void>(Failure(filter.error()));
}

}  // namespace

Result<FilterProgram> carrier_filter() {
  const std::unique_ptr<void, decltype(&::seccomp_release)> context(
      ::seccomp_init(SCMP_ACT_ERRNO(EPERM)), &::seccomp_release);
  if (!context) return fail(Errc::unavailable, "seccomp_init failed");
  int failure = 0;
  const auto allow = [&](const char* name, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number < 0) return;  // this architecture has none of that name
    const int result =
        ::seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, number,
                                 static_cast<unsigned>(conditions.size()), conditions.begin());
    if (failure == 0) failure = result;
  };
  for (const char* name : {// bytes, and the wait for them
                           "read", "write", "poll", "ppoll", "sendto", "close", "clock_gettime",
                           // memory, which nobody can run
                           "brk", "munmap", "mremap", "madvise",
                           // its end
                           "exit_group", "rt_sigreturn", "restart_syscall"}) {
    allow(name);
  }
  allow("mmap", {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}});
  allow("ioctl", {{1, SCMP_CMP_MASKED_EQ, int_bits, FIONREAD}});
  if (failure != 0) return Failure(errno_error(Errc::bug, "seccomp", -failure));
  return export_filter(context.get());
}

Result<Carrier> start_carrier(const char* name, int type, std::vector<int> kept,
                              const std::function<void(Fd socket)>& carry) {
  int ends[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno(Errc::unavailable, "socketpair");
  }
  Carrier carrier{Fd(ends[0]), -1};
  Fd theirs(ends[1]);
  const pid_t supervisor = ::getpid();
  carrier.pid = ::fork();
  if (carrier.pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (carrier.pid == 0) {
    kept.push_back(theirs.get());
    const auto became = become(name, kept, supervisor);
    const std::string word = became ? std::string(is_carrying) : became.error().what;
    if (::send(theirs.get(), word.data(), word.size(), MSG_NOSIGNAL) > 0 && became) {
      carry(std::move(theirs));
    }
    ::_exit(1);
  }
  theirs.reset();
  std::array<char, 512> word;
  const ssize_t size = ::recv(carrier.socket.get(), word.data(), word.size(), 0);
  const std::string_view said(word.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (said == is_carrying) return carrier;
  return fail(Errc::unavailable,
              fmt::format("'{}' cannot start: {}", name, said.empty() ? "it ended" : said));
}

bool pass_on(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t size = ::write(fd, bytes.data(), bytes.size());
    if (size >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {  // the caller set O_NONBLOCK
      can_be_passed_on(fd, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool can_be_passed_on(int fd, int timeout_ms) noexcept {
  pollfd reader{fd, POLLOUT, 0};
  return ::poll(&reader, 1, timeout_ms) > 0;
}

}  // namespace sluice::launcher
