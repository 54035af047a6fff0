// A pseudo-terminal of the sandbox's own, so that no agent ever holds the person's (TIOCSTI,
// reading).
#pragma once

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

struct Terminal {
  Fd master;  // for the supervisor
  Fd slave;   // for the agent
};

// True when any of descriptors 0-2 is a terminal.
bool has_terminal();

// Both are terminals, and the same one (ioctl_tty(2), TIOCGDEV).
bool is_same_terminal(int one, int other) noexcept;

// From the devpts mounted on /dev/pts. Takes over the person's window size. Where the person types
// into something else than a terminal, only output goes through it, and it changes no line ends.
Result<Terminal> open_terminal();

}  // namespace sluice::launcher
