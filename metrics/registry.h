// Every metric name and label in one file.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/agent_end.h"
#include "base/reason.h"
#include "base/strong.h"
#include "metrics/audit.h"
#include "metrics/events.h"
#include "metrics/path_counts.h"
#include "metrics/process.h"
#include "metrics/thread_counters.h"
#include "metrics/via.h"

namespace sluice::metrics {

using ReasonCounts = std::array<std::uint64_t, reason_count>;  // by Reason

// What one run of an agent came to.
struct Totals {
  std::uint64_t allowed = 0;  // decisions neither denied nor reported, that did not fail
  ReasonCounts denied{};      // decisions denied, and those that failed afterwards
  ReasonCounts dns_denied{};  // names refused by DNS; in no other count
  ReasonCounts reported{};    // decisions that only report mode let pass, by what they would be
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t programs = 0;  // that it started
  std::uint64_t tunnels = 0;   // open now
};

class AgentCounts;
class AgentSeries;
class Budgets;
struct AllAgents;

// The counters of one registration of an agent. Any thread adds, without a lock and as a rule to a
// cache line of its own. The series of the agent's name, which /metrics shows, is the sum of its
// registrations and outlives them.
class AgentMetrics {
 public:
  explicit AgentMetrics(std::shared_ptr<AgentSeries> series);
  ~AgentMetrics();
  AgentMetrics(const AgentMetrics&) = delete;
  AgentMetrics& operator=(const AgentMetrics&) = delete;

  // Where its budgets stand, which are not counted here. Once, before the agent is served.
  void has_budgets(std::shared_ptr<const Budgets> budgets);
  // `would_deny`: for a verdict of report mode, what enforcement would have said.
  void decided(Verdict verdict, Reason reason, std::optional<Reason> would_deny = {}) noexcept;
  void dns(DnsOutcome outcome) noexcept;
  // A refused question: counts DnsOutcome::refused, and the reason for totals().
  void dns_refused(Reason reason) noexcept;
  void moved(Direction direction, std::uint64_t bytes) noexcept;
  // Datagrams other than questions, which the agent's namespace refused; in no other count.
  void udp_refused(std::uint64_t datagrams) noexcept;
  // Programs that the agent started, whether they have an audit line or not.
  void started_programs(std::uint64_t programs) noexcept;
  // The agent itself: its registration, and why that came to its end.
  void started() noexcept;
  void ended(AgentEnd end) noexcept;
  void tunnel_opened() noexcept;
  void tunnel_closed(TunnelEnd end) noexcept;

  // Of this registration only.
  Totals totals() const noexcept;

 private:
  const std::shared_ptr<AgentSeries> series_;
  std::unique_ptr<AgentCounts> counts_;
  std::list<const AgentCounts*>::iterator place_;  // in series_
  std::shared_ptr<const Budgets> budgets_;         // null: none
};

// A containment check, by whoever launched an agent.
using Held = YesNo<struct HeldTag>;
using Succeeded = YesNo<struct SucceededTag>;

struct RegistryOptions {
  std::string version;
  std::size_t agent_cap = 1024;     // names with series of their own; further ones count as "other"
  std::chrono::seconds grace{300};  // how long the series of an agent that has gone stay
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

class Registry {
 public:
  explicit Registry(RegistryOptions options = {});
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // A new registration of `name`. The agent has gone when the last user lets go of it.
  std::shared_ptr<AgentMetrics> agent(std::string_view name);

  void connection(Via via) noexcept;
  void set_tunnels_limit(std::uint64_t tunnels) noexcept;
  void probed(Held held) noexcept;
  PathCounts& path() noexcept { return path_; }
  void set_policy_rules(std::size_t rules) noexcept;
  // The policy of the start is in force: a success that is no reload.
  void policy_loaded(std::chrono::system_clock::time_point at) noexcept;
  void policy_reloaded(Succeeded ok, std::chrono::system_clock::time_point at) noexcept;
  const std::shared_ptr<AuditCounters>& audit() const noexcept { return audit_; }

  // Prometheus text format 0.0.4 ("text/plain; version=0.0.4; charset=utf-8").
  std::string exposition() const;

 private:
  using Shown = std::vector<std::shared_ptr<const AgentSeries>>;

  void forget_gone() const;
  Shown shown() const;

  const RegistryOptions options_;
  const std::shared_ptr<AuditCounters> audit_ = std::make_shared<AuditCounters>();
  const std::shared_ptr<AllAgents> all_;
  const std::shared_ptr<AgentSeries> other_;
  const Process process_;
  PathCounts path_;
  ThreadCounters<via_count> connections_;
  std::atomic<std::uint64_t> tunnels_limit_{0};
  std::array<std::atomic<std::uint64_t>, 2> probes_{};  // leaked, held
  std::atomic<bool> probe_ok_{true};
  std::atomic<std::uint64_t> policy_rules_{0};
  std::array<std::atomic<std::uint64_t>, 2> policy_reloads_{};  // failed, succeeded
  std::atomic<bool> policy_current_{false};
  std::atomic<double> policy_loaded_at_{0};  // seconds since the epoch
  mutable std::mutex mutex_;
  // By the name that the series holds; guarded by mutex_.
  mutable std::map<std::string_view, std::shared_ptr<AgentSeries>> series_;
};

}  // namespace sluice::metrics
