// Counters to which each thread adds on cache lines of its own, and which readers sum.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace sluice::metrics {

// Threads at a time that have counters of their own. Further ones share one row.
inline constexpr unsigned own_thread_cap = 32;

namespace detail {

inline constexpr unsigned not_asked = own_thread_cap + 1;
inline constinit thread_local unsigned thread_number = not_asked;
unsigned claim_thread_number() noexcept;

}  // namespace detail

// Below own_thread_cap for a thread that has a number, which is its own until it ends.
inline unsigned thread_number() noexcept {
  const unsigned number = detail::thread_number;
  return number == detail::not_asked ? detail::claim_thread_number() : number;
}

using Counter = std::atomic<std::uint64_t>;

// Any thread may add() and read; nothing is locked, and no count is lost. A sum may lack what is
// being added now. Sums read one after the other never fall, as long as nothing is taken off.
template <std::size_t size>
class ThreadCounters {
 public:
  using Sums = std::array<std::uint64_t, size>;

  ThreadCounters() = default;
  ~ThreadCounters() {
    for (const auto& row : own_) delete row.load(std::memory_order_acquire);
  }
  ThreadCounters(const ThreadCounters&) = delete;
  ThreadCounters& operator=(const ThreadCounters&) = delete;

  // To take off, add the two's complement: a gauge is read as a signed number.
  void add(std::size_t counter, std::uint64_t amount) noexcept {
    if (Row* own = own_row()) {
      // Nobody else writes it, so that no locked instruction is needed.
      Counter& place = own->counters[counter];
      place.store(place.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
    } else {
      shared_[counter].fetch_add(amount, std::memory_order_relaxed);
    }
  }

  Sums sums() const noexcept {
    Sums sums{};
    for (std::size_t i = 0; i < size; ++i) sums[i] = shared_[i].load(std::memory_order_relaxed);
    for (const auto& own : own_) {
      const Row* row = own.load(std::memory_order_acquire);
      if (row == nullptr) continue;
      for (std::size_t i = 0; i < size; ++i) {
        sums[i] += row->counters[i].load(std::memory_order_relaxed);
      }
    }
    return sums;
  }

 private:
  struct alignas(64) Row {
    std::array<Counter, size> counters{};
  };

  // Made when the thread first adds; null without a number or without memory.
  Row* own_row() noexcept {
    const unsigned number = thread_number();
    if (number >= own_thread_cap) return nullptr;
    Row* row = own_[number].load(std::memory_order_relaxed);
    if (row == nullptr) {
      row = new (std::nothrow) Row;
      own_[number].store(row, std::memory_order_release);
    }
    return row;
  }

  std::array<std::atomic<Row*>, own_thread_cap> own_{};
  std::array<Counter, size> shared_{};
};

}  // namespace sluice::metrics
