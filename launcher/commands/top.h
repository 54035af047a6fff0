// `sluice top`: what agents do now, live in a terminal, or once for a person or a program.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

void add_top(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
