// Covers paths: a directory by an empty read-only one, everything else by /dev/null.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::launcher {

// Needs the new /dev. What does not exist is left alone. Of what lies where this id cannot look,
// the directory that is closed is covered: the agent has the same id, and opens its own with
// chmod(1).
Result<void> hide(const std::string& path);

}  // namespace sluice::launcher
