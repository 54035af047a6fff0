// What the proxy's processes have used: processor time and memory of whole trees, from proc(5).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace sluice::bench {

// Seconds, in steps of one clock tick (10 ms).
struct ProcessorTime {
  double user = 0;
  double system = 0;
  double sum() const noexcept { return user + system; }
};
ProcessorTime operator-(const ProcessorTime& later, const ProcessorTime& earlier) noexcept;

// KiB. A page that processes share is in `rss` of each, and once in the sum of their `pss`.
struct Memory {
  std::uint64_t rss = 0;
  std::uint64_t pss = 0;  // 0 when it may not be read: a process that is not dumpable needs root
};

// The processes at and below some roots, as they were when it was made: looking for them takes
// milliseconds that are no part of a measurement.
class ProcessTree {
 public:
  explicit ProcessTree(const std::vector<pid_t>& roots);
  // Of all of them, and of their ended children.
  ProcessorTime processor_time() const;
  Memory memory() const;

 private:
  std::vector<pid_t> pids_;
};

}  // namespace sluice::bench
