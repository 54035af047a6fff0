// `sluice root`: imports, lists and deletes root directories for `sluice run --root NAME`.
#pragma once

#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

// Adds the command with its verbs and sets `chosen` when one was typed.
void add_root(CLI::App& app, Action& chosen);

}  // namespace sluice::launcher
