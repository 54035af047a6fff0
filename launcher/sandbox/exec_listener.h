// Asks the kernel to tell the supervisor of every program that the agent is about to start.
#pragma once

#include "base/error.h"

namespace sluice::launcher {

// To be called after load_filter(), last before exec: from here on each execve(2) and execveat(2)
// of the calling process, and of all that come from it, waits until it is answered by whoever reads
// the listener (seccomp_unotify(2)). The listener goes over `control` as ControlMessage exec_log
// and is not kept. Where the kernel refuses one, the message says so and nothing waits.
Result<void> hand_over_exec_listener(int control);

}  // namespace sluice::launcher
