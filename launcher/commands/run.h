// `sluice run`: from options to a running agent.
#pragma once

#include "launcher/options.h"

namespace sluice::launcher {

// Answers the exit status (interface: 124-127, 128+n, else the command's own).
int run(const RunOptions& options);

}  // namespace sluice::launcher
