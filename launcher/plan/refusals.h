// Refuses binds and destinations that would hand an agent what encloses it: pure.
#pragma once

#include "launcher/plan/plan.h"

namespace sluice::launcher {

// The workspace as the writable bind it is, and the binds of the request.
std::vector<Bind> all_binds(const RunRequest& request);

// "the workspace 'DIR'" or "the writable bind 'DIR'".
std::string name_of_writable(const RunRequest& request, const Bind& bind);

Result<void> refuse_dangerous(const RunRequest& request, const Machine& machine);

}  // namespace sluice::launcher
