// Where sluice keeps what outlives a run: folders that nobody else can write to.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"
#include "launcher/plan/machine.h"

namespace sluice::launcher {

using MakeFolder = YesNo<struct MakeFolderTag>;

// $XDG_STATE_HOME, ~/.local/state without it.
std::string state_directory(const Machine& machine);

// STATE/sluice/NAME. Both directories are made with mode 0700, and refused when they are symbolic
// links, belong to somebody else or can be written by others. Without a descriptor where there is
// none and none is to be made.
Result<Fd> open_state_folder(const std::string& state, const char* name, MakeFolder make);

}  // namespace sluice::launcher
