// Stands before a run whose caller wants it with a terminal that he does not have, or without the
// one that he has (--tty).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

namespace sluice::launcher {

enum class Tty : std::uint8_t {
  as_caller,  // what is a terminal of descriptors 0-2 is one for the run
  yes,        // all three are
  no,         // none is: nothing to read, and pipes to write to
};

// Calls `run` in a child with descriptors 0-2 as `tty` says, in a session of its own, carries their
// bytes, passes signals on, and answers its exit status once all of it is written; 125 where that
// cannot be begun. The child ends with this process, whose pid it is told. Where nothing is to be
// changed: `run` in this process, told 0.
int run_behind(Tty tty, const std::function<int(pid_t front)>& run);

}  // namespace sluice::launcher
