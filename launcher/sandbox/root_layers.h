// Makes '/' out of a directory: beneath a layer of our own with what that root lacks, and beneath a
// writable one where it is an overlay (overlayfs).
#pragma once

#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/overlay_mounter.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {

struct LayeredRoot {
  Fd mount;    // detached; nosuid and nodev
  Fd changes;  // overlay: the directory that everything written goes to
};

// What a layered root is mounted from, its layers named relative to a directory that
// make_layered_root() makes.
FileSystem layered_file_system(const Root& root);

// In the sandbox's own namespaces, while '/' is still the host's. `lower` is the root's directory,
// detached; `binds` are the plan's, in order. Our layer holds the mount points of the plan that the
// root lacks and the plan's own files: a root that somebody else made need not have /home, and is
// not written to. What a person looks at afterwards in `changes` has nothing of it. `mounter` is
// there for an upper layer in trusted memory.
Result<LayeredRoot> make_layered_root(const Plan& plan, Fd lower, const std::vector<Fd>& binds,
                                      OverlayMounter* mounter);

}  // namespace sluice::launcher
