// Looks at every path a person named and makes the request that a plan is made from.
#pragma once

#include "base/error.h"
#include "launcher/options.h"
#include "launcher/plan.h"

namespace sluice::launcher {

struct RequestInput {
  const RunOptions& options;
  std::string agent;
  std::string policy_path;  // "" for none
};

// Resolves symbolic links; refuses a workspace that is no directory and bind sources that are
// neither a directory nor a regular file (a socket or FIFO leads out of the sandbox).
Result<RunRequest> make_request(const RequestInput& input);

// A policy that a workspace brings along is named and not obeyed: whoever wrote the workspace wrote
// it. An error when the run has no --policy of its own, else a sentence to tell ("" when there is
// none).
Result<std::string> judge_workspace_policy(const std::string& workspace, const RunOptions& options);

}  // namespace sluice::launcher
