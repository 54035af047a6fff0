// Files of our own over the root's: name service, identity, and the agent's list of its denials.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan.h"
#include "launcher/sandbox/mount_points.h"

namespace sluice::launcher {

// Needs the new /run. Answers the only writable descriptor of /run/sluice/denials.
Result<Fd> put_own_files(const std::vector<OwnFile>& files, MountPoints& points);

}  // namespace sluice::launcher
