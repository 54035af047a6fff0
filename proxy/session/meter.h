// Lets an agent's bytes leave only as its limits allow.
#pragma once

#include <cstddef>

#include "metrics/registry.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

// Waits as long as the bandwidth asks, and takes from the budget: how many of `wanted` bytes may
// leave now. Fewer than `wanted`: the rest may not leave at all; session.carrying says `spent`
// where the budget is the reason, else the session ended meanwhile. For directions that
// Agent::limits meters.
Task<std::size_t> meter(Session& session, metrics::Direction direction, std::size_t wanted);

}  // namespace sluice::proxy
