// Lets an agent's bytes leave only as its limits allow.
#pragma once

#include <cstdint>
#include <string_view>

#include "metrics/registry.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

enum class Sent : std::uint8_t {
  all,
  held_back,  // not all may leave: session.carrying says `spent` where a budget is the reason, else
              // the session ended meanwhile
  broken,     // the write failed
};

// Writes `bytes` to where their direction leads, as fast as the bandwidth and as far as the budget
// of Agent::limits let them, and counts what was written, in `moved` too. Each portion that was
// written puts off the idle deadline.
Task<Sent> send(Session& session, metrics::Direction direction, std::string_view bytes,
                std::uint64_t& moved);

}  // namespace sluice::proxy
