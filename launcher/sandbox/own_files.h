// Files of our own over the root's: name service, identity, and the agent's list of its denials.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/mount_points.h"

namespace sluice::launcher {

// Needs the new /run. Answers the only writable descriptor of /run/sluice/denials. A file that the
// root lacks is left out, or made where `make` says so and its directory can be written.
Result<Fd> put_own_files(const std::vector<OwnFile>& files, MakeMissing make, MountPoints& points);

}  // namespace sluice::launcher
