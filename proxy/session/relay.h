// Carries bytes both ways between an agent and an origin until both are done.
#pragma once

#include <cstdint>

#include "metrics/registry.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

struct Traffic {
  std::uint64_t up = 0;
  std::uint64_t down = 0;
  Inbox* early = nullptr;  // what the origin said before the tunnel stood: goes down first
};

// How one direction ended.
enum class Ended : std::uint8_t { done, agent_broke, origin_broke };

// Writes what the inbox still holds to the origin, then copies until the agent's end, which is
// passed on as a half-close, so that a request that ends first still gets its answer.
Task<Ended> carry_up(Session& session, std::uint64_t& moved);

// Runs `up` and the copy from the origin to the agent at once; returns when both have finished, one
// has failed, or neither side has spoken for timeouts.idle. session.origin must be connected.
Task<metrics::TunnelEnd> relay(Session& session, Traffic& traffic, Task<Ended> up);

}  // namespace sluice::proxy
