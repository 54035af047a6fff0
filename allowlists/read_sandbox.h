// Reads how the sandbox of one agent entry is to be made.
#pragma once

#include "allowlists/reporter.h"
#include "allowlists/sandbox.h"

namespace sluice::allowlists {

// What has errors, which are then reported, stays empty.
Sandbox read_sandbox(const Field& sandbox, Reporter& report);

}  // namespace sluice::allowlists
