// Asks the kernel to tell the supervisor of every program that the agent is about to start.
#pragma once

#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/seccomp.h"

namespace sluice::launcher {

// To be called after load_filter(), last before exec: from here on each execve(2) and execveat(2)
// of the calling process, and of all that come from it, waits until it is answered by whoever reads
// the listener (seccomp_unotify(2)). The listener goes over `control` as ControlMessage exec_log
// and is not kept. Where the kernel refuses one, the message says so and nothing waits.
Result<void> hand_over_exec_listener(int control);

// An overlay's listener with the pipe on which pid 1 is told of its calls (HeldCalls).
struct SharedListener {
  Fd listener;
  Fd set_id;
};

// In place of load_filter(), of an overlay: pid 1 gets the listener of what `program` holds back
// over `line`. Where programs are among it, with an end of the pipe; the answer is for the
// supervisor.
Result<std::optional<SharedListener>> load_shared_filter(const FilterProgram& program, int line,
                                                         HoldsBackExec exec);
// The supervisor gets the other ends, as ControlMessage exec_log. None is kept.
Result<void> hand_over_shared_listener(SharedListener shared, int control);

}  // namespace sluice::launcher
