#include "proxy/daemon/agent_account.h"

#include "proxy/session/agent.h"

namespace sluice::proxy {

AgentAccount account_of(const Agent& agent, HasNetwork has_network) {
  return {.name = agent.name,
          .has_network = has_network,
          .since = agent.since,
          .connections = agent.sessions,
          .totals = agent.metrics->totals(),
          .budgets = agent.allowance->uses()};
}

}  // namespace sluice::proxy
