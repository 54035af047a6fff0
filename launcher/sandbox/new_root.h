// The agent's file system: the host's root or another, with everything of the plan in place of its
// parts.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/kernel_files.h"
#include "launcher/sandbox/overlay_mounter.h"

namespace sluice::launcher {

struct NewRoot {
  KernelFiles kernel_files;  // to be sealed once the network is there
  Fd denials;                // write end of /run/sluice/denials, which is read-only inside
  std::vector<std::string> notices{};  // for the person
  Fd changes;                          // what is written to an overlay
};

// What a root caller opened: nothing otherwise.
struct Opened {
  Fd root;                // where it is not the host's
  std::vector<Fd> binds;  // the plan's mounts that have a source, in order
  OverlayMounter* mounter = nullptr;
};

// In fresh mount, pid, ipc and net namespaces. Afterwards the working directory is '/'.
Result<NewRoot> enter_new_root(const Plan& plan, Opened opened);

}  // namespace sluice::launcher
