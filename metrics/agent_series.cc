#include "metrics/agent_series.h"

#include "metrics/registry.h"

namespace sluice::metrics {

AgentSeries::Place AgentSeries::join(const AgentCounts& counts) {
  const std::lock_guard lock(mutex_);
  present_.push_front(&counts);
  all->present.fetch_add(1, std::memory_order_relaxed);
  return present_.begin();
}

// Under the lock of sums(): a reader finds the counts in one place or in the other.
void AgentSeries::leave(Place place, std::unique_ptr<AgentCounts> counts,
                        std::shared_ptr<const Budgets> budgets) noexcept {
  all->present.fetch_sub(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  present_.erase(place);
  if (present_.empty()) gone_since_ = all->now();
  const auto shared = budgets_.find(budgets);
  if (shared != budgets_.end() && --shared->second == 0) {
    budgets_.erase(shared);
    // The series of many outlives each of them.
    if (budgets_.empty() && !of_many_) last_budgets_ = std::move(budgets);
  }
  if (past_) {
    past_->take_in(*counts);
  } else {
    past_ = std::move(counts);
  }
}

bool AgentSeries::gone_for(std::chrono::seconds grace) const {
  const std::lock_guard lock(mutex_);
  return present_.empty() && all->now() - gone_since_ >= grace;
}

EventSums AgentSeries::sums() const {
  const std::lock_guard lock(mutex_);
  EventSums sums;
  if (past_) sums += past_->sums();
  for (const AgentCounts* counts : present_) sums += counts->sums();
  return sums;
}

void AgentSeries::join(const std::shared_ptr<const Budgets>& budgets) {
  const std::lock_guard lock(mutex_);
  ++budgets_[budgets];
}

BudgetUses AgentSeries::budgets() const {
  const std::lock_guard lock(mutex_);
  if (budgets_.empty()) return last_budgets_ ? last_budgets_->uses() : BudgetUses();
  BudgetUses sums;
  for (const auto& [budgets, registrations] : budgets_) {
    const BudgetUses uses = budgets->uses();
    for (std::size_t i = 0; i < uses.size(); ++i) {
      if (!uses[i]) continue;
      if (!sums[i]) sums[i] = BudgetUse();
      sums[i]->spent += uses[i]->spent;
      sums[i]->limit += uses[i]->limit;
    }
  }
  return sums;
}

AgentMetrics::AgentMetrics(std::shared_ptr<AgentSeries> series)
    : series_(std::move(series)),
      counts_(std::make_unique<AgentCounts>()),
      place_(series_->join(*counts_)) {}

AgentMetrics::~AgentMetrics() { series_->leave(place_, std::move(counts_), std::move(budgets_)); }

void AgentMetrics::has_budgets(std::shared_ptr<const Budgets> budgets) {
  series_->join(budgets);
  budgets_ = std::move(budgets);
}

void AgentMetrics::decided(Verdict verdict, Reason reason,
                           std::optional<Reason> would_deny) noexcept {
  counts_->add(Event::decision(verdict, reason, would_deny));
}

void AgentMetrics::dns(DnsOutcome outcome) noexcept { counts_->add(Event::dns(outcome)); }

void AgentMetrics::dns_refused(Reason reason) noexcept {
  dns(DnsOutcome::refused);
  counts_->add(Event::dns_denial(reason));
}

void AgentMetrics::moved(Direction direction, std::uint64_t bytes) noexcept {
  counts_->add(Event::byte(direction), bytes);
}

void AgentMetrics::udp_refused(std::uint64_t datagrams) noexcept {
  counts_->add(Event::udp_refused(), datagrams);
}

void AgentMetrics::started_programs(std::uint64_t programs) noexcept {
  counts_->add(Event::exec(), programs);
}

void AgentMetrics::started() noexcept { counts_->add(Event::start()); }

void AgentMetrics::ended(AgentEnd end) noexcept { counts_->add(Event::end(end)); }

void AgentMetrics::tunnel_opened() noexcept { counts_->add(Event::tunnel()); }

void AgentMetrics::tunnel_closed(TunnelEnd end) noexcept {
  counts_->add(Event::tunnel(), std::uint64_t(-1));
  series_->all->tunnel_ends.add(static_cast<std::size_t>(end), 1);
}

Totals AgentMetrics::totals() const noexcept {
  const EventSums sums = counts_->sums();
  Totals totals;
  for (std::size_t i = 0; i < reason_count; ++i) {
    const Reason reason{static_cast<std::uint8_t>(i)};
    const std::uint64_t passed = sums[Event::decision(Verdict::allow, reason)] +
                                 sums[Event::decision(Verdict::report, reason)];
    totals.denied[i] = sums[Event::decision(Verdict::deny, reason)];
    (is_failure(reason) ? totals.denied[i] : totals.allowed) += passed;
    totals.dns_denied[i] = sums[Event::dns_denial(reason)];
    totals.reported[i] = sums[Event::would_be(reason)];
  }
  totals.bytes_up = sums[Event::byte(Direction::up)];
  totals.bytes_down = sums[Event::byte(Direction::down)];
  totals.programs = sums[Event::exec()];
  // One thread's opening may have been read before and another's closing after it.
  const auto open = static_cast<std::int64_t>(sums[Event::tunnel()]);
  totals.tunnels = static_cast<std::uint64_t>(std::max<std::int64_t>(open, 0));
  return totals;
}

}  // namespace sluice::metrics
