// Which limits an agent has run into, as its control group counted, and how a person is told.
#pragma once

#include <cstdint>
#include <string>

#include "launcher/plan/limits.h"

namespace sluice::launcher::cgroup {

struct Reached {
  std::uint64_t killed = 0;         // processes, by the kernel, for want of memory
  bool is_own_limit = false;        // else the machine or an outer group ran out of it
  std::uint64_t refused_forks = 0;  // processes and threads
};

// "" where no limit was reached; else it follows the line about an agent's end. `status` is that
// end: 137 after SIGKILL.
std::string in_words(const Reached& reached, const Limits& limits, int status);

}  // namespace sluice::launcher::cgroup
