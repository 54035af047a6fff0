// A seccomp listener: which thread waits at a system call, and its answer (seccomp_unotify(2)).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

struct Notification {
  std::uint64_t id = 0;
  pid_t thread = 0;  // as the calling process sees it
  int call = 0;      // its number, of this architecture
  std::array<std::uint64_t, 6> arguments{};
};

class Notifications {
 public:
  static Result<Notifications> of(Fd listener);

  int fd() const noexcept { return listener_.get(); }

  // To be called when fd() is readable, by one process alone. Nothing: whoever waited has been
  // killed. An error: the listener is broken.
  Result<std::optional<Notification>> receive();
  // Whether the thread still waits: else what was read of it may be another's.
  bool is_valid(const Notification& notification) const;
  // The call goes on as if nobody had looked. False: it no longer waited.
  bool let_go_on(const Notification& notification) const;
  // The call is not made and answers 0, or -1 with this errno. False: it no longer waited.
  bool answer(const Notification& notification, int error_number) const;

 private:
  Notifications(Fd listener, std::size_t size) : listener_(std::move(listener)), buffer_(size) {}

  Fd listener_;
  std::vector<std::uint64_t> buffer_;  // as large as this kernel's seccomp_notif
};

}  // namespace sluice::launcher
