// Covers paths: a directory by an empty read-only one, everything else by /dev/null.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::launcher {

// Needs the new /dev. What does not exist, or lies where this id cannot look, is left alone: the
// agent has the same id.
Result<void> hide(const std::string& path);

}  // namespace sluice::launcher
