// Waits for descriptors: a thin coat over epoll(7).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "base/fd.h"

namespace sluice::bench {

using Clock = std::chrono::steady_clock;

inline Clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

class Watcher {
 public:
  virtual ~Watcher() = default;
  // `events` as of epoll_ctl(2). It may watch and close descriptors of its own.
  virtual void ready(std::uint32_t events) = 0;
};

class Loop {
 public:
  // Throws when the kernel has no descriptor left.
  Loop();
  // Closing a descriptor ends its watch.
  void watch(int fd, std::uint32_t events, Watcher& watcher) const noexcept;
  void change(int fd, std::uint32_t events, Watcher& watcher) const noexcept;
  // Tells the watchers of what is ready now; waits until `until` when nothing is. A watcher must
  // outlive the call in which it may be told.
  void run_once(Clock::time_point until) const;

 private:
  Fd epoll_;
};

}  // namespace sluice::bench
