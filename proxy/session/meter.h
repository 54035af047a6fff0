// Lets an agent's bytes leave only as its limits allow.
#pragma once

#include <cstdint>
#include <string_view>

#include "metrics/registry.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

// How much may leave, and when. What was granted and has to wait stands in the agent's line, and
// must leave it where it is not sent after all.
struct Grant {
  std::size_t bytes = 0;  // 0: none; session.carrying says `spent` where a budget is the reason
  Clock::duration wait{0};
  std::uint64_t bandwidth = 0;  // bytes a second; 0: no line
};

// Of `wanted` bytes of one direction, by the bandwidth and the budget of Agent::limits.
Grant ask_meter(Session& session, metrics::Direction direction, std::size_t wanted) noexcept;
void leave_line(Session& session, metrics::Direction direction, const Grant& grant) noexcept;

// Counts what was written, and puts off the idle deadline.
void count_written(Session& session, metrics::Direction direction, std::size_t bytes) noexcept;

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
