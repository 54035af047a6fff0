// How often a sluiced has decided for an agent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

struct DecisionCounts {
  std::uint64_t allowed = 0;
  std::uint64_t reported = 0;  // allowed, for a report
  std::uint64_t blocked = 0;   // names that DNS refused, too
};

// The sums of sluice_decisions_total by verdict, and of the refused questions of
// sluice_dns_queries_total, in a Prometheus exposition. Pure.
DecisionCounts count_decisions(std::string_view exposition);

struct AskedDecisions {
  std::vector<std::optional<DecisionCounts>> counts;  // of each run
  std::vector<Error> silent;                          // a sluiced each
};
// What their sluiceds counted of these runs: each one's own, or the shared one that it was handed
// to. All are asked at the same time. Of one that is silent nothing is known,
// nor of a shared one that may not be asked, or has its admin socket elsewhere than beside the
// handover socket.
AskedDecisions ask_decisions(const std::string& directory, const std::vector<RunStatus>& runs);

}  // namespace sluice::launcher
