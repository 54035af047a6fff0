// Makes the options of a run as tight as the policy's `sandbox:` says.
#pragma once

#include "allowlists/sandbox.h"
#include "base/error.h"
#include "launcher/options.h"
#include "launcher/plan/machine.h"

namespace sluice::launcher {

// What the policy says and no option repeats is added. An option that is looser is refused: it
// names itself and what the policy gives.
Result<void> tighten(RunOptions& options, const allowlists::Sandbox& policy,
                     const Machine& machine);

}  // namespace sluice::launcher
