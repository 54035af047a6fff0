// Puts whole lines into a descriptor that may be full, slow or gone.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string_view>

#include "base/fd.h"
#include "metrics/audit_sink.h"

namespace sluice::metrics {

class LineSink : public AuditSink {
 public:
  explicit LineSink(Fd fd);

  // Writes as much of `lines` as the descriptor takes, waiting for a slow reader. Answers how many
  // of the lines are whole in it. The rest of a line that was cut off is never written: the next
  // call ends it with a newline first.
  std::size_t write(std::string_view lines) override;

  // From then on a reader that does not read is no longer waited for. Any thread.
  void stop_waiting_at(std::chrono::steady_clock::time_point time) noexcept override;

 private:
  ssize_t write_some(std::string_view bytes);
  bool wait_writable();
  void tell(int error_number);

  Fd fd_;
  bool regular_ = false;
  bool cut_off_ = false;
  bool failing_ = false;
  std::atomic<std::chrono::steady_clock::rep> deadline_;
};

}  // namespace sluice::metrics
