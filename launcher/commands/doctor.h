// `sluice doctor`: what this machine supports, what is missing, and what mends it.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

// Adds the command and sets `chosen` when it was typed. Its exit status is 0 where `sluice run` can
// work for this caller, else 1.
void add_doctor(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
