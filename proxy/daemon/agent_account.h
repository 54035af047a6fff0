// One agent as /api/v1/agents tells it.
#pragma once

#include <chrono>
#include <string>

#include "base/strong.h"
#include "metrics/budgets.h"
#include "metrics/registry.h"

namespace sluice::proxy {

class Agent;

using HasNetwork = YesNo<struct HasNetworkTag>;

struct AgentAccount {
  std::string name;
  // Its network is handed over; else it comes to an explicit listener.
  HasNetwork has_network = HasNetwork::no;
  std::chrono::system_clock::time_point since;
  int connections = 0;  // open ones
  metrics::Totals totals;
  metrics::BudgetUses budgets;
};

AgentAccount account_of(const Agent& agent, HasNetwork has_network);

}  // namespace sluice::proxy
