// A plan as one JSON object, for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/plan/plan.h"

namespace sluice::launcher {

// Who decides, and what a run changes of it.
struct PlannedPolicy {
  std::optional<std::string> shared;  // a shared sluiced's socket: it decides alone
  std::string path;                   // "" for none
  std::vector<std::string> allow;     // as typed
  bool report = false;
};

// What --dry-run --json prints, with a line feed: agent, user, uid, gid, workspace, home, policy,
// mounts (as in Mount; what does not apply to a kind is left out), files, masks, environment
// (names: values may be secrets), command, and steps with name and does. Pure ASCII; bytes that are
// not UTF-8 become U+FFFD.
std::string to_json(const Plan& plan, const PlannedPolicy& policy);

}  // namespace sluice::launcher
