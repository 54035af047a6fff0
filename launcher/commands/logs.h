// `sluice logs AGENT`: what a detached run has written, or what was decided about an agent.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

void add_logs(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
