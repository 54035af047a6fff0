// Fills the directory of a new root from a tar archive or from another directory.
#pragma once

#include <string>

#include "base/error.h"
#include "launcher/roots/store.h"

namespace sluice::launcher {

// `source`: a directory, an archive that tar(1) knows, or "-" for an archive on standard input.
// Device nodes below /dev are left out; any other fault of the archive, a member that names '..'
// among them, and nothing is imported. For tar all but the new root is read-only. Owners are kept
// for a root caller and for who has other ids (SubIds), where what is the caller's on the host is
// root's; for everybody else all files are the caller's.
Result<void> import_root(const RootStore& store, const std::string& name,
                         const std::string& source);

}  // namespace sluice::launcher
