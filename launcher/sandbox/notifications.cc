#include "launcher/sandbox/notifications.h"

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::launcher {
namespace {

// Linux 6.6: who waits and who answers take turns on one processor. From linux/seccomp.h.
constexpr unsigned long set_flags = SECCOMP_IOW(4, std::uint64_t);
constexpr std::uint64_t sync_wake_up = 1;

constexpr suseconds_t patience = 50'000;  // microseconds

void interrupt_every(suseconds_t microseconds) {
  const itimerval timer{{0, microseconds}, {0, microseconds}};
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace

Result<Notifications> Notifications::of(Fd listener) {
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) {
    return fail_errno(Errc::unavailable, "SECCOMP_GET_NOTIF_SIZES");
  }
  struct sigaction nothing {};
  nothing.sa_handler = [](int) {};
  if (::sigaction(SIGALRM, &nothing, nullptr) != 0) return fail_errno(Errc::bug, "sigaction");
  ::ioctl(listener.get(), set_flags, sync_wake_up);  // refused by older kernels: only slower
  const std::size_t bytes = std::max<std::size_t>(sizes.seccomp_notif, sizeof(seccomp_notif));
  return Notifications(std::move(listener), (bytes + 7) / 8);
}

Result<std::optional<Notification>> Notifications::receive() {
  std::fill(buffer_.begin(), buffer_.end(), 0);
  // The one that made it readable may have been killed: then this would wait for the next.
  interrupt_every(patience);
  const int done = ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, buffer_.data());
  const int error_number = errno;
  interrupt_every(0);
  if (done != 0) {
    if (error_number == EINTR || error_number == ENOENT) return std::nullopt;
    return Failure(errno_error(Errc::unavailable, "SECCOMP_IOCTL_NOTIF_RECV", error_number));
  }
  seccomp_notif notif{};
  std::memcpy(&notif, buffer_.data(), sizeof(notif));
  Notification notification{notif.id, static_cast<pid_t>(notif.pid), notif.data.nr, {}};
  std::copy(std::begin(notif.data.args), std::end(notif.data.args), notification.arguments.begin());
  return notification;
}

bool Notifications::is_valid(const Notification& notification) const {
  std::uint64_t id = notification.id;
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool Notifications::let_go_on(const Notification& notification) const {
  seccomp_notif_resp answer{};
  answer.id = notification.id;
  answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0;
}

bool Notifications::answer(const Notification& notification, int error_number) const {
  seccomp_notif_resp answer{};
  answer.id = notification.id;
  answer.error = -error_number;
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0;
}

}  // namespace sluice::launcher
