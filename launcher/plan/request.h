// Looks at every path a person named and makes the request that a plan is made from.
#pragma once

#include "base/error.h"
#include "launcher/options.h"
#include "launcher/plan/plan.h"

namespace sluice::launcher {

struct RequestInput {
  const RunOptions& options;
  std::string agent;
  std::string policy_path;                 // "" for none
  std::string trust_directory = {};        // "" for none
  std::string placeholder_directory = {};  // "" for none
  std::vector<std::string> policy_search_path = {};
  Root root = {};
  std::string roots_directory = {};  // "" for none
};

// The directory the agent works in, without symbolic links.
Result<std::string> resolve_workspace(const RunOptions& options);

// Resolves symbolic links; refuses a workspace that is no directory and bind sources that are
// neither a directory nor a regular file (a socket or FIFO leads out of the sandbox).
Result<RunRequest> make_request(const RequestInput& input);

}  // namespace sluice::launcher
