// Which root `sluice run` was asked for, and whether it can be had.
#pragma once

#include "base/error.h"
#include "launcher/options.h"
#include "launcher/plan/machine.h"
#include "launcher/roots/root.h"
#include "launcher/roots/store.h"

namespace sluice::launcher {

// A value with a slash, "." and ".." are directories, "host" is the machine's root, everything else
// is the name of an imported one. An overlay needs a root whose files the caller may own: for an
// ordinary user his own.
Result<Root> choose_root(const RunOptions& options, const Machine& machine, const RootStore& store);

// What a person is told about it before the agent starts; "" for nothing.
std::string root_notice(const Root& root);

}  // namespace sluice::launcher
