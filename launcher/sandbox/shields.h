// Mounts parts of a writable bind upon themselves: read-only, or only so that they stay in their
// place.
#pragma once

#include "base/error.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/mount_points.h"

namespace sluice::launcher {

// `bind` is the mount, attached. What a shield names must be there, and is taken as it is: no
// symbolic link leads to it, and one that stands there is mounted upon itself, which keeps it what
// it is. Before anything is mounted below the bind.
Result<void> raise_shields(const Mount& mount, int bind, MountPoints& points);

}  // namespace sluice::launcher
