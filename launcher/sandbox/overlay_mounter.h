// Mounts an overlay with rights that a sandbox has given up: where a tmpfs has no user extended
// attributes, overlayfs keeps what it must remember in trusted ones, which root of the machine
// alone may write.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {

// A process that keeps the rights of the moment until it has mounted, or until its sandbox is gone.
// What it mounts acts on the layers as the agent's own host id, with no more capabilities than
// overlayfs needs there.
class OverlayMounter {
 public:
  // Before the rights are given up. The process becomes a child of the calling one's parent.
  static Result<OverlayMounter> start(uid_t host_id, const FileSystem& overlay);

  // Once: in the mount namespace of the calling process, `overlay` naming its layers relative to
  // the directory `scratch`; detached.
  Result<Fd> mount(int scratch);

 private:
  explicit OverlayMounter(Fd order) : order_(std::move(order)) {}

  Fd order_;
};

}  // namespace sluice::launcher
