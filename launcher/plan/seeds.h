// What of a seed's source is not copied: what is hidden from agents, and what is mounted over.
#pragma once

#include <vector>

#include "launcher/plan/plan.h"

namespace sluice::launcher {

// Refuses seeds that would replace or copy what encloses the agent, what another mount decides, or
// what sluice keeps. Pure.
Result<void> refuse_seeds(const RunRequest& request);

bool has_seed(const std::vector<Mount>& mounts);

// Fills in `without` and `mounted` of every seed of the plan's mounts. Pure.
void leave_out_of_seeds(const RunRequest& request, const Machine& machine,
                        std::vector<Mount>& mounts);

}  // namespace sluice::launcher
