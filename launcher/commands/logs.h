// `sluice logs AGENT`: what a detached run has written, and how it ended.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

void add_logs(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
