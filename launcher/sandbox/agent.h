// Becomes the agent: gives up everything in order, then runs its command.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/held_calls.h"
#include "launcher/sandbox/seccomp.h"

namespace sluice::launcher {

struct AgentStart {
  const Plan& plan;
  const std::vector<FilterProgram>& filters;  // loaded in this order
  int terminal = -1;  // slave of the sandbox's own pty; -1: descriptors 0-2 stay what they are
};

// Why the agent did not start. `status` is what sluice exits with: 125, 126 (cannot be invoked) or
// 127 (not found).
struct AgentFailure {
  int status = 125;
  Error error;
};

struct StartedAgent {
  pid_t pid = -1;
  HeldCalls held;  // of an overlay's root
};

// Forks; answers once the agent's command has replaced it. Where the plan logs programs, the agent
// tells the supervisor over `control` of its listener first, and the supervisor must answer it.
tl::expected<StartedAgent, AgentFailure> start_agent(const AgentStart& start, int control);

}  // namespace sluice::launcher
