// What this process uses of the machine, for the process_* metrics.
#pragma once

#include <chrono>
#include <optional>

#include "base/fd.h"

namespace sluice::metrics {

struct ProcessUse {
  double cpu_seconds = 0;
  double start_time = 0;  // seconds since the epoch
  std::optional<double> resident_bytes;
  std::optional<double> open_fds;  // nothing without /proc (an enclosed sluiced)
  std::optional<double> max_fds;
};

class Process {
 public:
  // Opens /proc/self/statm, so that it can still be read when /proc is gone.
  Process();
  ProcessUse use() const;

 private:
  const std::chrono::system_clock::time_point start_ = std::chrono::system_clock::now();
  const Fd statm_;
};

}  // namespace sluice::metrics
