// What /proc/1/cmdline tells an agent: nothing of how it was started.
#pragma once

#include "base/error.h"

namespace sluice::launcher {

// Overwrites this process's own copy of its arguments and environment, which proc_pid_cmdline(5)
// shows to everybody in the pid namespace: paths of the policy and the audit file stand there, and
// values of --env.
Result<void> forget_command_line();

}  // namespace sluice::launcher
