// Removes a directory with all that is in it, closed directories included.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::launcher {

// Follows no symbolic link and leaves no file system. What does not exist is no error.
Result<void> remove_tree(const std::string& path);

// The same for an imported root, whose files may belong to the caller's other ids.
Result<void> remove_root(const std::string& path);

}  // namespace sluice::launcher
