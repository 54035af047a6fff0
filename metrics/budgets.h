// How much of its byte budgets an agent has spent, for whoever shows it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

namespace sluice::metrics {

// One direction's, in the window of now.
struct BudgetUse {
  std::uint64_t spent = 0;  // bytes; more than `limit` where the policy has made it smaller since
  std::uint64_t limit = 0;  // bytes
  std::chrono::seconds period{0};
  std::chrono::system_clock::time_point resets;  // when a new window begins, at 0
};

using BudgetUses = std::array<std::optional<BudgetUse>, 2>;  // by Direction; none: no budget

// Of one agent name, and the same object for all its registrations. Any thread.
class Budgets {
 public:
  virtual ~Budgets() = default;
  virtual BudgetUses uses() const = 0;
};

}  // namespace sluice::metrics
