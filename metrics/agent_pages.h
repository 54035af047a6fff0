// The families of /metrics that have the label `agent`.
#pragma once

#include <cstddef>
#include <string>

#include "metrics/agent_counts.h"
#include "metrics/budgets.h"
#include "metrics/exposition.h"

namespace sluice::metrics {

// Side by side: each agent is summed once for all of them.
class AgentPages {
 public:
  explicit AgentPages(std::size_t agents);

  void add(const std::string& agent, const EventSums& sums, const BudgetUses& budgets);
  std::string text() &&;

 private:
  void add_budgets(const std::string& agent, const BudgetUses& budgets);

  Page decisions_;
  Page tunnels_;
  Page bytes_;
  Page budgets_spent_;
  Page budget_limits_;
  Page dns_;
  Page udp_;
  Page execs_;
  Page starts_;
  Page ends_;
};

}  // namespace sluice::metrics
