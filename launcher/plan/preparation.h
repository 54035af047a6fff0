// Everything of a run that is known before anything is started.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/cgroup/place.h"
#include "launcher/choice.h"
#include "launcher/options.h"
#include "launcher/plan/machine.h"
#include "launcher/plan/plan.h"
#include "launcher/protection/protection.h"
#include "launcher/sandbox/seccomp.h"

namespace sluice::launcher {

struct Prepared {
  RunOptions options;  // as tight as the policy's `sandbox:`
  Machine machine;
  std::optional<std::string> shared;  // socket of a shared sluiced
  std::string workspace;
  cgroup::Place place;                // of the agent's control groups
  PolicyChoice policy;                // for an embedded one
  bool brought = false;               // the policy is the workspace's own
  std::string sandbox;                // what the policy says of it, as a sluiced tells it
  std::vector<std::string> protects;  // of the workspace, besides: what the policy says
  Plan plan;
  Protection protection;
  std::vector<FilterProgram> filters;
  std::vector<std::string> notices;
};

// Looks at options, policy and machine, and decides all that can be decided; nothing is started.
tl::expected<Prepared, Errors> prepare(const RunOptions& options);

}  // namespace sluice::launcher
