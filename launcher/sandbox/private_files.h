// Hides what the machine's own root keeps from other users, where an agent is root over it.
#pragma once

#include <string>

#include "base/error.h"
#include "launcher/sandbox/own_layer.h"

namespace sluice::launcher {

// `root` is the directory where the machine's root is seen with its ids mapped. Hidden in `layer`:
// every file in /etc, /opt, /usr/local, /var/lib and /var/cache that others may not read, every
// directory there that they may not list or enter; all of /var but those two, and every directory
// of '/' that does not hold programs. Looked at once: what appears there later is seen as it is.
Result<void> hide_private_files(const std::string& root, OwnLayer& layer);

// Whether the directory `path` of '/' is, or lies in, one of those that are empty there whatever
// others may read.
bool is_always_hidden(const std::string& path);

}  // namespace sluice::launcher
