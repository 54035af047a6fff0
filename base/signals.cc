#include "base/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>

namespace sluice {
namespace {

bool is_ignored(int number) {
  struct sigaction action {};
  return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Result<Fd> watch_signals() {
  // An ignored one would still be waited for; a parent may ignore SIGCHLD for us, and then wait()
  // fails.
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t watched;
  ::sigemptyset(&watched);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD, SIGWINCH}) {
    if (!is_ignored(number)) ::sigaddset(&watched, number);
  }
  if (::sigprocmask(SIG_BLOCK, &watched, nullptr) != 0) return fail_errno(Errc::bug, "sigprocmask");
  ::signal(SIGPIPE, SIG_IGN);
  Fd fd(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno(Errc::unavailable, "signalfd");
  return fd;
}

SignalsBlocked::SignalsBlocked() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

std::vector<int> read_signals(int fd) {
  std::vector<int> numbers;
  signalfd_siginfo info{};
  while (::read(fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    numbers.push_back(static_cast<int>(info.ssi_signo));
  }
  return numbers;
}

bool ends_programs(const std::vector<int>& signals) {
  return std::any_of(signals.begin(), signals.end(), [](int number) {
    return number == SIGTERM || number == SIGINT || number == SIGHUP || number == SIGQUIT;
  });
}

}  // namespace sluice
