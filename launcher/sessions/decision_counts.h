// How often a run's embedded sluiced has decided, from its metrics.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::launcher {

struct DecisionCounts {
  std::uint64_t allowed = 0;
  std::uint64_t reported = 0;  // allowed, for a report
  std::uint64_t blocked = 0;
};

// The sums of sluice_decisions_total by verdict in a Prometheus exposition. Pure.
DecisionCounts count_decisions(std::string_view exposition);

// Nothing where no sluiced of the agent's own answers: a shared one counts for many.
std::optional<DecisionCounts> ask_decisions(const std::string& directory, const std::string& agent);

}  // namespace sluice::launcher
