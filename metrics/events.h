// What happens to agents and is counted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::metrics {

// up: from the agent to the origin.
enum class Direction : std::uint8_t { up, down };

// What became of an agent's DNS question.
enum class DnsOutcome : std::uint8_t {
  answered,   // a synthetic address
  no_data,    // the name is allowed, the record type is never given out
  refused,    // NXDOMAIN by policy: use dns_refused()
  malformed,  // FORMERR
  exhausted,  // SERVFAIL: the agent has all the names it can have
};
inline constexpr std::size_t dns_outcome_count = 5;

// Why a tunnel ended.
enum class TunnelEnd : std::uint8_t {
  closed,          // both sides said they were done
  agent_reset,     // the agent's side broke it off
  origin_reset,    // the origin's side broke it off
  idle,            // no byte for timeouts.idle
  lifetime,        // it was open for timeouts.lifetime
  policy_changed,  // a reload no longer allows it
  budget,          // a byte budget was used up
  agent_gone,      // the agent was unregistered
  drain,           // sluiced is stopping
  internal,        // sluiced failed
};
inline constexpr std::size_t tunnel_end_count = static_cast<std::size_t>(TunnelEnd::internal) + 1;

}  // namespace sluice::metrics
