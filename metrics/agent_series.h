// The counters behind one value of the `agent` label, and of all agents together.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/strong.h"
#include "metrics/agent_counts.h"
#include "metrics/budgets.h"
#include "metrics/events.h"
#include "metrics/thread_counters.h"

namespace sluice::metrics {

// What is counted over all agents. Series and registrations may outlive the registry.
struct AllAgents {
  std::function<std::chrono::steady_clock::time_point()> now;
  std::atomic<std::int64_t> present{0};
  ThreadCounters<tunnel_end_count> tunnel_ends;
};

// Whether a series is that of all agents beyond the cap, and so never ends.
using OfMany = YesNo<struct OfManyTag>;

// The sum of an agent's registrations, those that have ended included.
class AgentSeries {
 public:
  using Place = std::list<const AgentCounts*>::iterator;

  AgentSeries(std::string agent, std::shared_ptr<AllAgents> all_agents, OfMany of_many)
      : name(std::move(agent)), all(std::move(all_agents)), of_many_(of_many) {}

  Place join(const AgentCounts& counts);
  // Those of a registration that has joined; equal ones are shown once.
  void join(const std::shared_ptr<const Budgets>& budgets);
  // Nobody adds to `counts` any more, which join() was given, nor shares `budgets`; null: none.
  void leave(Place place, std::unique_ptr<AgentCounts> counts,
             std::shared_ptr<const Budgets> budgets) noexcept;
  // No registration was left for `grace`.
  bool gone_for(std::chrono::seconds grace) const;
  EventSums sums() const;
  // The sum of its registrations' that are left; else what the last one's come to.
  BudgetUses budgets() const;

  const std::string name;
  const std::shared_ptr<AllAgents> all;

 private:
  const OfMany of_many_;
  mutable std::mutex mutex_;
  std::list<const AgentCounts*> present_;  // guarded by mutex_, as what follows
  std::unique_ptr<AgentCounts> past_;      // null until the first one ends
  std::chrono::steady_clock::time_point gone_since_;
  std::map<std::shared_ptr<const Budgets>, std::size_t> budgets_;  // -> registrations
  std::shared_ptr<const Budgets> last_budgets_;                    // of an agent that has gone
};

}  // namespace sluice::metrics
