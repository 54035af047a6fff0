// One registered agent: its name, its rules, its account, and the line back to whoever registered
// it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "allowlists/policy.h"
#include "base/fd.h"
#include "metrics/registry.h"
#include "proxy/session/allowance.h"
#include "proxy/session/synthetic_names.h"

namespace sluice::proxy {

// The peer's end of the handover connection, for what sluiced says unasked. Any thread.
class Lease {
 public:
  // Null: nobody listens, as with an explicit lease and an agent of an explicit listener.
  explicit Lease(std::shared_ptr<const Fd> socket) noexcept
      : has_listener_(socket != nullptr), socket_(std::move(socket)) {}

  // Somebody listens.
  bool is_heard() noexcept { return socket() != nullptr; }
  // Shows a denial to the agent: the same sentence at most once in two seconds, at most 20 a
  // second; lost when the peer does not read.
  void tell_denied(const std::string& sentence) noexcept;
  // False when the peer could not be told: the binding must then not be given out. Where nobody
  // listens it is given out, and the next sluiced does not know it.
  bool tell_binding(const netns::Binding& binding) noexcept;
  // The peer is another sluiced's from now on: nothing is said any more.
  void end() noexcept;

 private:
  bool may_say(const std::string& sentence);
  std::shared_ptr<const Fd> socket() noexcept;

  const bool has_listener_;
  std::shared_ptr<const Fd> socket_;
  std::mutex mutex_;
  std::unordered_map<std::size_t, std::int64_t> said_;  // hash of a sentence -> when, in ms
  std::int64_t window_began_ = 0;
  unsigned said_in_window_ = 0;
};

class Agent {
 public:
  Agent(std::string agent_name, const std::shared_ptr<const allowlists::Policy>& policy,
        std::shared_ptr<metrics::AgentMetrics> counts, std::shared_ptr<const Fd> peer,
        std::shared_ptr<Allowance> its_allowance = std::make_shared<Allowance>())
      : name(std::move(agent_name)),
        metrics(std::move(counts)),
        lease(std::move(peer)),
        allowance(std::move(its_allowance)),
        limits(allowance->limits) {
    set_policy(policy);
    metrics->has_budgets(allowance);
  }

  // Of the policy in force, all of which they keep.
  std::shared_ptr<const allowlists::AgentRules> rules() const noexcept {
    const std::scoped_lock lock(mutex_);
    return rules_;
  }
  void set_policy(const std::shared_ptr<const allowlists::Policy>& policy) noexcept {
    std::shared_ptr<const allowlists::AgentRules> rules(policy, &policy->for_agent(name));
    limits.set(rules->limits());
    const std::scoped_lock lock(mutex_);
    rules_.swap(rules);  // the old ones are let go of behind the lock
  }

  const std::string name;
  const std::chrono::system_clock::time_point since = std::chrono::system_clock::now();
  const std::shared_ptr<metrics::AgentMetrics> metrics;
  SyntheticNames names;
  Lease lease;
  std::atomic<int> sessions{0};                // open ones, on all threads
  const std::shared_ptr<Allowance> allowance;  // of its name: outlives this registration
  LiveLimits& limits;                          // allowance's

 private:
  // Not std::atomic<std::shared_ptr>: GCC 12's load() lets go of its lock with relaxed ordering.
  mutable std::mutex mutex_;
  std::shared_ptr<const allowlists::AgentRules> rules_;  // guarded by mutex_
};

}  // namespace sluice::proxy
