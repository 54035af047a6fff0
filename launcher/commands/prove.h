// `sluice prove`: the battery of probes in a fresh sandbox.
#pragma once

#include "launcher/commands/policy_command.h"
#include "launcher/options.h"

namespace sluice::launcher {

// Answers 0 when every probe held, 1 when one did not, 125 when there was no sandbox to try; 124
// and 128+n as `sluice run`.
int prove(const RunOptions& options, AsJson as_json);

}  // namespace sluice::launcher
