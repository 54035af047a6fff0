#include "launcher/sandbox/notifications.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::launcher {
namespace {

// Linux 6.6: who waits and who answers take turns on one processor. From linux/seccomp.h.
constexpr unsigned long set_flags = SECCOMP_IOW(4, std::uint64_t);
constexpr std::uint64_t sync_wake_up = 1;

}  // namespace

Result<Notifications> Notifications::of(Fd listener) {
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) {
    return fail_errno(Errc::unavailable, "SECCOMP_GET_NOTIF_SIZES");
  }
  ::ioctl(listener.get(), set_flags, sync_wake_up);  // refused by older kernels: only slower
  const std::size_t bytes = std::max<std::size_t>(sizes.seccomp_notif, sizeof(seccomp_notif));
  return Notifications(std::move(listener), (bytes + 7) / 8);
}

Result<std::optional<Notification>> Notifications::receive() {
  std::fill(buffer_.begin(), buffer_.end(), 0);
  // Never waits: the kernel counts notifications up when they come and down here alone, so that one
  // that made this readable and was killed since is ENOENT (kernel/seccomp.c).
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, buffer_.data()) != 0) {
    if (errno == EINTR || errno == ENOENT) return std::nullopt;
    return fail_errno(Errc::unavailable, "SECCOMP_IOCTL_NOTIF_RECV");
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
