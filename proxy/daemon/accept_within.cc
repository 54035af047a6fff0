#include "proxy/daemon/accept_within.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// Without SA_RESTART, so that accept(2) ends (signal(7)).
bool catch_signal() noexcept {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  return ::sigaction(SIGRTMIN, &action, nullptr) == 0;
}

// A timer of the calling thread.
class Interruption {
 public:
  Interruption() noexcept {
    static const bool caught = catch_signal();
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGRTMIN;
    event._sigev_un._tid = ::gettid();
    exists_ = caught && ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  }
  ~Interruption() {
    if (exists_) ::timer_delete(timer_);
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // Again and again, for one that comes before accept(2) has begun. 0: none from here on.
  bool each(std::chrono::nanoseconds time) const noexcept {
    const timespec span{0, static_cast<long>(time.count())};
    const itimerspec setting{span, span};
    return exists_ && ::timer_settime(timer_, 0, &setting, nullptr) == 0;
  }

 private:
  timer_t timer_{};
  bool exists_ = false;
};

}  // namespace

Fd accept_within_bounds(int listener, sockaddr* from, socklen_t* size) noexcept {
  static thread_local const Interruption interruption;
  if (!interruption.each(longest_accept)) {
    errno = ENOMEM;  // without a bound it is not done
    return {};
  }
  Fd accepted(::accept4(listener, from, size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  const int error = errno;
  (void)interruption.each(0ns);
  errno = error;
  return accepted;
}

bool would_wait(int listener) noexcept { return (::fcntl(listener, F_GETFL) & O_NONBLOCK) == 0; }

}  // namespace sluice::proxy
