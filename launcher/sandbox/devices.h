// A new /dev: the six harmless devices, terminals, shared memory and message queues of its own.
#pragma once

#include <array>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

class Devices {
 public:
  // Copies the host's nodes; to be called while the host's root is still there.
  static Result<Devices> take();

  // Mounts the new /dev; still writable for us, so that mount points below it can be made.
  Result<void> attach();

  // Read-only from here on; /dev/shm, /dev/pts and /dev/mqueue are mounts of their own and stay
  // writable.
  Result<void> seal();

 private:
  static constexpr std::array<const char*, 6> names{"null",   "zero",    "full",
                                                    "random", "urandom", "tty"};

  std::array<Fd, names.size()> nodes_;
  Fd mount_;
};

}  // namespace sluice::launcher
