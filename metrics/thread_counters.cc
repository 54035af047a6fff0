#include "metrics/thread_counters.h"

#include <bit>

namespace sluice::metrics::detail {
namespace {

static_assert(own_thread_cap == 32);
std::atomic<std::uint32_t> numbers_taken{0};  // one bit each

// Gives the number back when its thread ends. What ends after it counts in the shared row.
struct Claim {
  unsigned number = own_thread_cap;
  ~Claim() {
    thread_number = own_thread_cap;
    if (number == own_thread_cap) return;
    numbers_taken.fetch_and(~(std::uint32_t{1} << number), std::memory_order_release);
  }
};

}  // namespace

// Acquires what the last thread of the number added: this one adds to the same rows.
unsigned claim_thread_number() noexcept {
  thread_local Claim claim;
  std::uint32_t taken = numbers_taken.load(std::memory_order_relaxed);
  do {
    claim.number = static_cast<unsigned>(std::countr_one(taken));
  } while (claim.number < own_thread_cap &&
           !numbers_taken.compare_exchange_weak(taken, taken | std::uint32_t{1} << claim.number,
                                                std::memory_order_acquire,
                                                std::memory_order_relaxed));
  thread_number = claim.number;
  return claim.number;
}

}  // namespace sluice::metrics::detail
