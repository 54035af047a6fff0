// By what each limit of a run is kept: a control group, or the agent's own rlimits: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/cgroup/place.h"
#include "launcher/plan/limits.h"

namespace sluice::launcher::cgroup {

// setrlimit(2), for the agent and what it starts.
struct ProcessLimits {
  std::optional<std::uint64_t> data;       // RLIMIT_DATA: of each process alone
  std::optional<std::uint64_t> processes;  // RLIMIT_NPROC, in the agent's user namespace
};

struct Means {
  Limits group;  // nothing in it: no group is made
  ProcessLimits process;
  std::string notice;              // of what was asked for and no group keeps; "" for none
  std::vector<std::string> steps;  // for --dry-run
};

// Without --pids the limit is default_pids.
Means choose_means(const Limits& asked, const Place& place);

}  // namespace sluice::launcher::cgroup
