#include "bench/load/histogram.h"

#include <algorithm>
#include <bit>

namespace sluice::bench {

std::size_t Histogram::bucket_of(std::uint64_t nanoseconds) noexcept {
  constexpr std::uint64_t linear = std::uint64_t{1} << sub_bits;
  if (nanoseconds < linear) return nanoseconds;
  const auto exponent = static_cast<unsigned>(std::bit_width(nanoseconds)) - 1 - sub_bits;
  const std::size_t bucket = ((exponent + 1) << sub_bits) + ((nanoseconds >> exponent) - linear);
  return std::min(bucket, buckets - 1);
}

double Histogram::middle_of(std::size_t bucket) noexcept {
  constexpr std::uint64_t linear = std::uint64_t{1} << sub_bits;
  if (bucket < linear) return static_cast<double>(bucket);
  const std::size_t exponent = (bucket >> sub_bits) - 1;
  const std::uint64_t low = (linear + bucket % linear) << exponent;
  const std::uint64_t width = std::uint64_t{1} << exponent;
  return static_cast<double>(low) + static_cast<double>(width - 1) / 2;
}

void Histogram::add(std::chrono::nanoseconds duration) noexcept {
  const auto nanoseconds = std::max<std::int64_t>(duration.count(), 0);
  ++counts_[bucket_of(static_cast<std::uint64_t>(nanoseconds))];
  ++count_;
}

double Histogram::quantile_us(double q) const noexcept {
  const auto wanted = static_cast<std::uint64_t>(q * static_cast<double>(count_));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
    seen += counts_[bucket];
    if (seen > wanted || (seen == count_ && count_ > 0)) return middle_of(bucket) / 1000;
  }
  return 0;
}

}  // namespace sluice::bench
