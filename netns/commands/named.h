// The commands about named agent networks: create, delete, list, exec, and what mends them.
#pragma once

#include <string>
#include <vector>

#include "base/strong.h"
#include "netns/named/named.h"

namespace sluice::netns {

using AsJson = YesNo<struct AsJsonTag>;

// Each answers the exit status: 0, or 125 with the reason on stderr.
int run_create(const NamedOrder& order);
int run_delete(const std::string& name);
int run_list(AsJson json);
int run_gc();
int run_restore();

// Becomes the command: its status is that of the process; 126 when it cannot be run, 127 when it is
// not found.
int run_exec(const std::string& name, const std::vector<std::string>& command);

}  // namespace sluice::netns
