// The order in which an agent is closed in, from the supervisor's fork to the agent's first
// instruction.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/seccomp.h"

namespace sluice::launcher {

// What the agent has in place of its caller's.
struct AgentsStderr {
  Fd write_end;            // of a pipe; none: the caller's own
  bool is_stdout = false;  // the caller's standard output is the same pipe, and so is the agent's
};

struct SandboxStart {
  const Plan& plan;
  const std::vector<FilterProgram>& filters;
  std::optional<uid_t> host_id;  // for a root caller: whom the agent is on the host
  std::vector<Fd> binds;         // for a root caller: the plan's sources, opened and mapped
  std::vector<int> groups = {};  // entrances of the agent's control groups
  Fd root;                       // for a root caller: the plan's root, where it is not the host's
  AgentsStderr standard_error = {};
};

struct Sandbox {
  Fd control;  // ControlMessage both ways; closing it ends the sandbox
};

// Forks. The sandbox says `born`, any `notice`, then `ready` or `failed`, waits for `go`, then says
// `started` or `failed`, and `ended`. Its pid 1 becomes a child of the calling process.
Result<Sandbox> start_sandbox(SandboxStart start);

}  // namespace sluice::launcher
