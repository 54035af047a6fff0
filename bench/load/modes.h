// What bench_load does: one function a mode, each answers the program's exit status.
#pragma once

#include "base/error.h"
#include "bench/load/options.h"

namespace sluice::bench {

Result<int> run_origin(const Options& options);
Result<int> run_steady(const Options& options);  // connect, get, refused
Result<int> run_bulk(const Options& options);
Result<int> run_idle(const Options& options);
Result<int> run_flood(const Options& options);
Result<int> run_agents(const Options& options);

}  // namespace sluice::bench
