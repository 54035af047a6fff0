// The counters behind one value of the `agent` label, and of all agents together.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "metrics/agent_counts.h"
#include "metrics/events.h"
#include "metrics/thread_counters.h"

namespace sluice::metrics {

// What is counted over all agents. Series and registrations may outlive the registry.
struct AllAgents {
  std::function<std::chrono::steady_clock::time_point()> now;
  std::atomic<std::int64_t> present{0};
  ThreadCounters<tunnel_end_count> tunnel_ends;
};

// The sum of an agent's registrations, those that have ended included.
class AgentSeries {
 public:
  using Place = std::list<const AgentCounts*>::iterator;

  AgentSeries(std::string agent, std::shared_ptr<AllAgents> all_agents)
      : name(std::move(agent)), all(std::move(all_agents)) {}

  Place join(const AgentCounts& counts);
  // Nobody adds to `counts` any more, which join() was given.
  void leave(Place place, std::unique_ptr<AgentCounts> counts) noexcept;
  // No registration was left for `grace`.
  bool gone_for(std::chrono::seconds grace) const;
  EventSums sums() const;

  const std::string name;
  const std::shared_ptr<AllAgents> all;

 private:
  mutable std::mutex mutex_;
  std::list<const AgentCounts*> present_;  // guarded by mutex_, as what follows
  std::unique_ptr<AgentCounts> past_;      // null until the first one ends
  std::chrono::steady_clock::time_point gone_since_;
};

}  // namespace sluice::metrics
