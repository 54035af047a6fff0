// Where sluice keeps what it must remember between runs, each kind in a directory of its own.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"
#include "launcher/machine.h"

namespace sluice::launcher {

// $XDG_STATE_HOME, ~/.local/state without it.
std::string state_directory(const Machine& machine);

struct StateStore {
  std::string state_directory;
  std::string name;
  std::string loss;  // what a person is told becomes of it when it is moved away
};

using Create = YesNo<struct CreateTag>;

// STATE/sluice/NAME, open for reading. Both directories are made with mode 0700, and refused when
// they are symbolic links, belong to somebody else or can be written by others. Without a
// descriptor where there is none yet and none is created.
Result<Fd> open_state_store(const StateStore& store, Create create);

}  // namespace sluice::launcher
