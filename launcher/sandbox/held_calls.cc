#include "launcher/sandbox/held_calls.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <type_traits>

#include "launcher/sandbox/set_id_broker.h"

namespace sluice::launcher {

// Written and read as a whole (pipe(7)), between processes of one program.
static_assert(std::is_trivially_copyable_v<Notification> && sizeof(Notification) <= PIPE_BUF);

Result<HeldCalls> HeldCalls::of(Fd listener, Fd told) {
  auto notifications = Notifications::of(std::move(listener));
  if (!notifications) return Failure(notifications.error());
  HeldCalls calls;
  calls.listener_.emplace(std::move(*notifications));
  calls.told_ = std::move(told);
  return calls;
}

int HeldCalls::fd() const noexcept {
  if (!listener_) return -1;
  return told_ ? told_.get() : listener_->fd();
}

Result<std::optional<Notification>> HeldCalls::next() {
  if (!told_) return listener_->receive();
  Notification call;
  const ssize_t size = ::read(told_.get(), &call, sizeof(call));
  if (size == sizeof(call)) return call;
  if (size < 0 && errno == EINTR) return std::nullopt;
  return fail(Errc::unavailable, "nobody tells of calls any more");
}

void HeldCalls::answer_next(short events) {
  if (events == 0 || !listener_) return;
  // Without POLLIN: nobody is left whose calls could be held back, or who could tell of them.
  const auto call = (events & POLLIN) != 0 ? next() : fail(Errc::unavailable, "the end");
  if (!call) {
    listener_.reset();
  } else if (*call) {
    answer_set_id(*listener_, **call);
  }
}

bool tell_of_call(int pipe, const Notification& call) {
  return ::write(pipe, &call, sizeof(call)) == sizeof(call);
}

}  // namespace sluice::launcher
