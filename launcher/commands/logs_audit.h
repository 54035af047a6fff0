// `sluice logs --file` and `--decisions`: audit lines for a person, or as they are.
#pragma once

#include <optional>
#include <string>

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

struct AuditLogOptions {
  std::string agent;                // "": any
  std::optional<std::string> file;  // a path or "-"; else what the agent's sluiced tells
  std::string verdict;              // "": any
  std::string since;                // "": from the beginning
  bool follow = false;
  bool json = false;
};

// Answers the exit status. Broken lines are counted and named on stderr.
int show_audit(const AuditLogOptions& options);

}  // namespace sluice::launcher
