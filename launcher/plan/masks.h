// Which paths of the host an agent must not find, seen through everything that is mounted for it:
// pure.
#pragma once

#include <string>
#include <vector>

#include "launcher/plan/plan.h"

namespace sluice::launcher {

// What sluice itself keeps on a machine.
std::vector<std::string> own_directories();

// Secrets of the home directories, as they are named and where links lead.
std::vector<std::string> default_secrets(const Machine& machine);

// Files and directories of the host to hide, each under every name that its mounts give it.
std::vector<std::string> hidden_paths(const RunRequest& request, const Machine& machine);

// Paths inside the sandbox to cover, without repetition: sluice's own directories, secrets of the
// home directory, the host's path sockets (a read-only mount does not stop connect(2)) and what was
// asked for, each also where a bind shows it elsewhere. `mounts` is the plan's list.
std::vector<std::string> find_masks(const RunRequest& request, const Machine& machine,
                                    const std::vector<Mount>& mounts);

}  // namespace sluice::launcher
