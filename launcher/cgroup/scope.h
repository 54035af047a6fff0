// A control group that systemd makes for sluice and delegates to it: a transient scope
// (systemd.scope(5)).
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/cgroup/hierarchy.h"
#include "launcher/cgroup/place.h"
#include "launcher/plan/limits.h"

namespace sluice::launcher::cgroup {

// Limits of memory and CPUs that hold for a v2 group, written in itself or in any above it: the
// first file, or "". To leave the group would be to escape them. (Every group of systemd's has a
// limit of processes; the scope has its own.)
std::string outer_limit(const std::string& group);

// Why systemd cannot be asked, or must not be; "" where it can. Asks nobody.
std::string why_no_scope(const std::vector<Hierarchy>& hierarchies);

// As find_place(). Where it lacks what is asked for by `asked` and systemd can be asked, the
// calling process, which must have one thread only, is moved into a scope of its own first;
// `lacking` says where that failed.
Result<Place> find_or_ask_place(const Limits& asked);

}  // namespace sluice::launcher::cgroup
