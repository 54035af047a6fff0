// Reads the limits of one agent entry.
#pragma once

#include "allowlists/limits.h"
#include "allowlists/reporter.h"

namespace sluice::allowlists {

// What has errors, which are then reported, stays empty.
Limits read_limits(const Field& limits, Reporter& report);

}  // namespace sluice::allowlists
