// The agent's file system: the host's root read-only, with everything of the plan in place of its
// parts.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan.h"
#include "launcher/sandbox/kernel_files.h"

namespace sluice::launcher {

struct NewRoot {
  KernelFiles kernel_files;  // to be sealed once the network is there
  Fd denials;                // write end of /run/sluice/denials, which is read-only inside
  std::vector<std::string> notices{};  // for the person
};

// In fresh mount, pid, ipc and net namespaces. `binds` are the plan's mounts that have a source, in
// order, opened by a
// root caller; empty otherwise. Afterwards the working directory is '/'.
Result<NewRoot> enter_new_root(const Plan& plan, std::vector<Fd> binds);

}  // namespace sluice::launcher
