// What an agent has used of its policy's limits, and whether it may use more.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "allowlists/limits.h"
#include "base/error.h"
#include "metrics/budgets.h"
#include "metrics/registry.h"

namespace sluice::proxy {

// The limits of an agent as its policy of now has them. Any thread; each is that of one policy.
class LiveLimits {
 public:
  void set(const allowlists::Limits& limits) noexcept;

  // Open at once; 0: not limited.
  std::uint32_t connections() const noexcept { return connections_; }
  std::optional<allowlists::Rate> connects() const noexcept;
  std::optional<allowlists::Budget> budget(metrics::Direction direction) const noexcept;
  // Bytes a second in each direction; 0: not limited.
  std::uint64_t bandwidth() const noexcept { return bandwidth_; }
  // Whether bytes of a direction are limited at all.
  bool meters(metrics::Direction direction) const noexcept {
    return bandwidth_ != 0 || has_budget_[static_cast<std::size_t>(direction)];
  }

 private:
  std::atomic<std::uint32_t> connections_{0};
  std::atomic<std::uint64_t> bandwidth_{0};
  std::array<std::atomic<bool>, 2> has_budget_{};
  mutable std::mutex mutex_;
  // Guarded by mutex_: half of an old one and half of a new one would cut what neither cuts.
  std::optional<allowlists::Rate> connects_;
  std::array<std::optional<allowlists::Budget>, 2> budgets_;
};

// The limits and the counts of one agent name. Any thread; nothing here waits.
class Allowance : public metrics::Budgets {
 public:
  using Steady = std::chrono::steady_clock;
  using Utc = std::chrono::system_clock;

  // Takes one token. No: the rate is used up.
  bool may_connect(const allowlists::Rate& rate, Steady::time_point now) noexcept;

  // How many of `wanted` bytes may still move in this window; they count as moved. 0: the budget is
  // used up.
  std::uint64_t take(metrics::Direction direction, const allowlists::Budget& budget,
                     std::uint64_t wanted, Utc::time_point now) noexcept;
  bool is_used_up(metrics::Direction direction, const allowlists::Budget& budget,
                  Utc::time_point now) noexcept;
  // How the budgets of `limits` stand at `now`; no window begins by being looked at.
  metrics::BudgetUses uses(Utc::time_point now) const;
  metrics::BudgetUses uses() const override { return uses(Utc::now()); }

  // Books `bytes` of a direction at `per_second` and says how long they must wait before they
  // leave. All connections of the agent stand in one line.
  Steady::duration pace(metrics::Direction direction, std::uint64_t per_second, std::uint64_t bytes,
                        Steady::time_point now) noexcept;
  // What was booked and will not be sent: nobody else waits for it.
  void leave_line(metrics::Direction direction, std::uint64_t per_second,
                  std::uint64_t bytes) noexcept;

  LiveLimits limits;

 private:
  friend class Allowances;
  struct Window {
    std::int64_t length = 0;  // seconds
    std::int64_t number = 0;  // since the epoch, in lengths
    std::uint64_t used = 0;
    std::uint64_t untold = 0;  // of `used`, what take_untold() has not answered yet
  };
  Window& window(metrics::Direction direction, const allowlists::Budget& budget,
                 Utc::time_point now) noexcept;

  // Generic cell rate algorithm: when the bucket would be full again, in ns of Steady.
  std::atomic<std::int64_t> connects_due_{0};
  std::array<std::atomic<std::int64_t>, 2> bytes_due_{};
  mutable std::mutex mutex_;
  std::array<Window, 2> windows_;  // guarded by mutex_
};

// Every agent's, by name: an agent that registers again goes on where it was.
class Allowances {
 public:
  std::shared_ptr<Allowance> of(const std::string& agent);

  // What outlives a restart: the used part of windows that are not over. One line a direction.
  std::string save(Allowance::Utc::time_point now) const;
  // What save() wrote; windows that are over count for nothing. An error names the line; what is
  // before it is restored.
  Result<void> restore(std::string_view text, Allowance::Utc::time_point now) {
    return read(text, now, Reading::whole);
  }

  // Two sluiced that serve the same agents for a while tell each other what theirs used.
  // Begins anew what take_untold() answers: what save() answered, or was restored, is known.
  void tell_all() noexcept;
  // In save()'s form, what was used since the last call; "" for nothing.
  std::string take_untold(Allowance::Utc::time_point now);
  // Counts what the other one's take_untold() answered.
  Result<void> add(std::string_view text, Allowance::Utc::time_point now) {
    return read(text, now, Reading::more);
  }

 private:
  enum class Reading : std::uint8_t { whole, more };
  static std::string line_of(std::string_view name, std::size_t direction,
                             const Allowance::Window& window, std::uint64_t bytes);
  Result<void> read(std::string_view text, Allowance::Utc::time_point now, Reading reading);

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Allowance>, std::less<>> by_name_;
};

}  // namespace sluice::proxy
