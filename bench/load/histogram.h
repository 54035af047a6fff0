// Counts durations in buckets of at most 1.6 % width, and answers quantiles.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sluice::bench {

class Histogram {
 public:
  void add(std::chrono::nanoseconds duration) noexcept;
  std::uint64_t count() const noexcept { return count_; }
  // The middle of the bucket in which the quantile lies, in microseconds; `q` from 0 to 1. 0 when
  // empty.
  double quantile_us(double q) const noexcept;

 private:
  // Each power of two is cut into 64 buckets; below 64 ns there is one for each nanosecond.
  static constexpr unsigned sub_bits = 6;
  static constexpr std::size_t buckets = std::size_t{44} << sub_bits;
  static std::size_t bucket_of(std::uint64_t nanoseconds) noexcept;
  static double middle_of(std::size_t bucket) noexcept;

  std::array<std::uint32_t, buckets> counts_{};
  std::uint64_t count_ = 0;
};

}  // namespace sluice::bench
