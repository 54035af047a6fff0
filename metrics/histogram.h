// How long something takes: how often at most so long, and all together.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "metrics/thread_counters.h"

namespace sluice::metrics {

// Any thread observes, as ThreadCounters count: without a lock, without allocating.
class Histogram {
 public:
  using Bounds = std::span<const std::chrono::nanoseconds>;
  static constexpr std::size_t most_bounds = 14;

  // Upper bounds, ascending, at most most_bounds; they outlive the histogram.
  explicit Histogram(Bounds bounds) noexcept : bounds_(bounds) {}

  void observe(std::chrono::nanoseconds time) noexcept;

  struct Seen {
    std::array<std::uint64_t, most_bounds> at_most{};  // by bound, each with those below it
    std::uint64_t count = 0;
    std::chrono::nanoseconds sum{0};
  };
  Seen seen() const noexcept;
  Bounds bounds() const noexcept { return bounds_; }

 private:
  static constexpr std::size_t longer = most_bounds;  // than the last bound
  static constexpr std::size_t sum = longer + 1;

  const Bounds bounds_;
  ThreadCounters<sum + 1> counters_;
};

}  // namespace sluice::metrics
