#include "metrics/histogram.h"

#include <algorithm>

namespace sluice::metrics {

void Histogram::observe(std::chrono::nanoseconds time) noexcept {
  time = std::max(time, std::chrono::nanoseconds(0));
  const auto bound = std::find_if(bounds_.begin(), bounds_.end(),
                                  [time](std::chrono::nanoseconds most) { return time <= most; });
  const bool is_longer = bound == bounds_.end();
  counters_.add(is_longer ? longer : static_cast<std::size_t>(bound - bounds_.begin()), 1);
  counters_.add(sum, static_cast<std::uint64_t>(time.count()));
}

Histogram::Seen Histogram::seen() const noexcept {
  const auto sums = counters_.sums();
  Seen seen;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    seen.count += sums[i];
    seen.at_most[i] = seen.count;
  }
  seen.count += sums[longer];
  seen.sum = std::chrono::nanoseconds(static_cast<std::int64_t>(sums[sum]));
  return seen;
}

}  // namespace sluice::metrics
