// Makes '/' out of a directory: beneath a layer of our own with what that root lacks, and beneath a
// writable one where it is an overlay (overlayfs).
#pragma once

#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan.h"

namespace sluice::launcher {

struct LayeredRoot {
  Fd mount;    // detached; nosuid and nodev
  Fd changes;  // overlay: the directory that everything written goes to
};

// In the sandbox's own namespaces, while '/' is still the host's. `lower` is the root's directory,
// detached; `binds` are the plan's, in order. Our layer holds the mount points of the plan that the
// root lacks and the plan's own files: a root that somebody else made need not have /home, and is
// not written to. What a person looks at afterwards in `changes` has nothing of it.
Result<LayeredRoot> make_layered_root(const Plan& plan, Fd lower, const std::vector<Fd>& binds);

}  // namespace sluice::launcher
