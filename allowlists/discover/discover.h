// Finds the package registries and git remotes that a project's tools are configured for: files are
// parsed, nothing is run, nothing is asked of a network.
#pragma once

#include <string>

#include "allowlists/discover/files.h"
#include "allowlists/discover/findings.h"
#include "base/error.h"

namespace sluice::allowlists::discover {

// Errors are about `directory` itself; what is wrong inside of it is a warning among the findings.
Result<Findings> discover(const std::string& directory, const Machine& machine);

}  // namespace sluice::allowlists::discover
