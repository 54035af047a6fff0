// What each mode asks of each host.
#pragma once

#include "bench/load/load.h"
#include "bench/load/options.h"

namespace sluice::bench {

// A tunnel to every host and a ping through it.
std::vector<Script> ping_scripts(const Options& options);
// Only the ping, on a tunnel that is open.
Script ping_script();

// connect, get, refused. An error for a mode that cannot be had this way.
Result<Plan> steady_plan(const Options& options);

}  // namespace sluice::bench
