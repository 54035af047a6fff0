// How runs are shown: a table for people, one JSON array for programs: pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/sessions/decision_counts.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

struct ShownRun {
  RunStatus status;
  std::optional<DecisionCounts> counts;
};

// One line a run below a heading; "nothing is running" without any.
std::string to_table(const std::vector<ShownRun>& runs);

// An array of objects: agent, state, pid, since and until (RFC 3339), status, workspace, policy,
// shared, detached, command, command_cut, allowed, reported, blocked; null where there is none or
// it is not known. ASCII, with a line feed.
std::string to_json(const std::vector<ShownRun>& runs);

}  // namespace sluice::launcher
