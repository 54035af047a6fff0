// Becomes the agent: gives up everything in order, then runs its command.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan.h"
#include "launcher/sandbox/seccomp.h"

namespace sluice::launcher {

struct AgentStart {
  const Plan& plan;
  const FilterProgram& filter;
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
  Fd held_back;  // of an overlay's root: for answer_set_id()
};

// Forks; answers once the agent's command has replaced it.
tl::expected<StartedAgent, AgentFailure> start_agent(const AgentStart& start);

}  // namespace sluice::launcher
