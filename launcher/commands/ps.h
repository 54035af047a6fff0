// `sluice ps`: the agents that this user runs, and detached ones that have ended.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

void add_ps(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
