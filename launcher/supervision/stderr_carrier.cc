#include "launcher/supervision/stderr_carrier.h"

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
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "launcher/sandbox/privileges.h"
#include "launcher/supervision/own_lines.h"

namespace sluice::launcher {
namespace {

constexpr char mid_line = 'm';
constexpr char whole_line = 'w';
constexpr std::uint64_t int_bits = 0xffff'ffff;

Result<void> enclose(const Fd& source, const Fd& supervisor) {
  ::close(STDIN_FILENO);
  ::close(STDOUT_FILENO);
  if (auto closed = close_all_but({source.get(), supervisor.get()}); !closed) return closed;
  if (::prctl(PR_SET_NAME, "sluice-stderr") != 0 || ::prctl(PR_SET_DUMPABLE, 0) != 0 ||
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fail_errno(Errc::unavailable, "prctl");
  }
  const auto filter = carrier_filter();
  return filter ? load_filter(*filter) : Result<void>(Failure(filter.error()));
}

class Carrier {
 public:
  Carrier(Fd source, Fd supervisor)
      : source_(std::move(source)),
        supervisor_(std::move(supervisor)),
        lines_([](std::string_view ours) { pass_on(ours); }) {}

  // Its signals are blocked, as the supervisor's are: it ends with that.
  [[noreturn]] void run() {
    for (;;) {
      pollfd waits[] = {{source_.get(), POLLIN, 0},
                        {lines_.is_full() ? -1 : supervisor_.get(), POLLIN, 0}};
      if (::poll(waits, 2, ms_left()) < 0) continue;
      if (waits[1].revents != 0) on_word();
      if (waits[0].revents != 0) hear();
      lines_.tick(OwnLines::Clock::now());
    }
  }

 private:
  // For poll(2).
  int ms_left() const {
    if (!lines_.due()) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*lines_.due() - OwnLines::Clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }

  void on_word() {
    std::array<char, longest_carried_line> word;
    const ssize_t size = ::read(supervisor_.get(), word.data(), word.size());
    if (size <= 0) ::_exit(1);
    const std::string_view said(word.data(), static_cast<std::size_t>(size));
    if (said != finish_carrying) return lines_.say(said, OwnLines::Clock::now());
    hear_rest();
    lines_.end(false);
    account_.is_mid_line = lines_.is_mid_line();
    const std::string account = account_.encode();
    ::_exit(::send(supervisor_.get(), account.data(), account.size(), MSG_NOSIGNAL) < 0 ? 1 : 0);
  }

  // What was read and passed on. Where the reader has gone, whoever writes gets SIGPIPE, as from
  // the caller's pipe.
  std::size_t hear() {
    const ssize_t size = ::read(source_.get(), chunk_.data(), chunk_.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    const std::string_view said(chunk_.data(),
                                static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    account_.heard.feed(said);
    if (size <= 0 || !lines_.pass(said, pass_on)) source_.reset();
    return said.size();
  }

  void hear_rest() {
    // What an accomplice outside writes to a descriptor that it was sent does not keep us here.
    int left = 0;
    if (::ioctl(source_.get(), FIONREAD, &left) != 0) left = 0;
    while (source_ && left > 0) {
      const std::size_t size = hear();
      if (size == 0) break;
      left -= static_cast<int>(size);
    }
    account_.heard.finish();
  }

  Fd source_;
  Fd supervisor_;
  OwnLines lines_;
  CarrierAccount account_;
  std::array<char, 65536> chunk_;
};

}  // namespace

std::string CarrierAccount::encode() const {
  return (is_mid_line ? mid_line : whole_line) + heard.account();
}

CarrierAccount CarrierAccount::decode(std::string_view encoded) {
  if (encoded.empty()) return {};
  return {encoded[0] == mid_line, ErofsWatch::of(encoded.substr(1))};
}

bool can_be_passed_on(int timeout_ms) noexcept {
  pollfd reader{STDERR_FILENO, POLLOUT, 0};
  return ::poll(&reader, 1, timeout_ms) > 0;
}

bool pass_on(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t size = ::write(STDERR_FILENO, bytes.data(), bytes.size());
    if (size >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {  // the caller set O_NONBLOCK
      can_be_passed_on(-1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

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

void carry_stderr(Fd source, Fd supervisor, pid_t parent) noexcept {
  if (!die_with_parent() || ::getppid() != parent) ::_exit(1);
  const auto enclosed = enclose(source, supervisor);
  const std::string word = enclosed ? std::string(is_carrying) : enclosed.error().what;
  if (::send(supervisor.get(), word.data(), word.size(), MSG_NOSIGNAL) < 0 || !enclosed) ::_exit(1);
  Carrier(std::move(source), std::move(supervisor)).run();
}

}  // namespace sluice::launcher
