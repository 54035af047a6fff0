// How often a sluiced has decided for an agent.
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

// What the shared sluiced with this handover socket counted of its agent; nothing where it may not
// be asked, or has its admin socket elsewhere.
std::optional<DecisionCounts> ask_shared_decisions(const std::string& handover_socket,
                                                   const std::string& agent);

// Nothing where no sluiced of the agent's own answers.
std::optional<DecisionCounts> ask_decisions(const std::string& directory, const std::string& agent);

}  // namespace sluice::launcher
