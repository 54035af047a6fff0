// Agents of explicit listeners: those the configuration names, and those whose certificates come.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "proxy/daemon/agent_account.h"
#include "proxy/session/agent.h"

namespace sluice::proxy {

// Any thread. Their names and those of registered agents are one set: no two live agents share one.
class ListenerAgents {
 public:
  // Live at once. A name in a certificate costs its authority nothing.
  static constexpr std::size_t most_visiting = 4096;

  ListenerAgents(metrics::Registry& registry, Allowances& allowances)
      : registry_(registry), allowances_(allowances) {}

  // For every agent, now and to come. Before any of the following.
  void set_policy(std::shared_ptr<const allowlists::Policy> policy);

  // An agent that the configuration names: lives as long as this.
  std::shared_ptr<Agent> keep(const std::string& name);
  // One that a certificate names, made at its first use and let go by its last user. Refused: no
  // agent name, that of a registered agent, or most_visiting are live.
  Result<std::shared_ptr<Agent>> visit(const std::string& name);
  // In whose account those are who are no known agent.
  std::shared_ptr<Agent> nobody();

  // For a registration: no when an agent here has the name. From then on none can get it until
  // release().
  bool reserve(const std::string& name);
  void release(const std::string& name);

  std::vector<AgentAccount> accounts() const;
  // Open ones of all agents here.
  int sessions() const;

 private:
  std::shared_ptr<Agent> make(const std::string& name);
  void forget_gone();

  metrics::Registry& registry_;
  Allowances& allowances_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::shared_ptr<const allowlists::Policy> policy_;
  std::map<std::string, std::shared_ptr<Agent>> kept_;
  std::map<std::string, std::weak_ptr<Agent>> visiting_;
  std::shared_ptr<Agent> nobody_;
  std::set<std::string> registered_;
};

}  // namespace sluice::proxy
