// Pid 1 of the sandbox: starts the agent, reaps everything, passes signals on, ends with its
// supervisor.
#pragma once

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/agent.h"

namespace sluice::launcher {

// The exit status a shell would report: the code, or 128+n after signal n.
int exit_status(int wait_status) noexcept;

// Starts the agent and stays until it has ended or the supervisor is gone; whoever is left in the
// pid namespace is then killed. Reports by `control` messages. Answers this process's own exit
// status.
int run_init(const AgentStart& start, Fd control);

}  // namespace sluice::launcher
