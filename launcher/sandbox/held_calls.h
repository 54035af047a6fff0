// The calls of an overlay's root that wait for pid 1, and how it comes to know of them.
#pragma once

#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/notifications.h"

namespace sluice::launcher {

// The kernel has one listener for an agent. Where its programs are logged, who logs them reads it
// and tells pid 1 of every call that is not its own; else pid 1 reads it itself.
class HeldCalls {
 public:
  HeldCalls() = default;
  // `told`: a pipe of Notification, its threads as pid 1 sees them; empty: there is none.
  static Result<HeldCalls> of(Fd listener, Fd told);

  // -1: there are none, or no more.
  int fd() const noexcept;
  // To be called with what poll(2) says of fd(). Where nobody can tell of the calls any more, the
  // listener is closed: the kernel then refuses them all (ENOSYS), and nothing waits for ever.
  void answer_next(short events);

 private:
  Result<std::optional<Notification>> next();

  std::optional<Notifications> listener_;
  Fd told_;
};

// Tells pid 1 of one call, over the other end of that pipe. Never waits; false with errno, EAGAIN
// when there is no room.
bool tell_of_call(int pipe, const Notification& call);

}  // namespace sluice::launcher
