// `sluice stop AGENT`: ends a run of this user's and waits until nothing of it is left.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

void add_stop(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
