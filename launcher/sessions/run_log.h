// Keeps what a detached run writes, and how it ended: bounded, in the state directory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

// STATE/sluice/logs has for each agent AGENT.log, AGENT.old (what was written before it) and
// AGENT.run (a RunStatus, locked by fcntl(2) while its run lasts), all with mode 0600.
inline constexpr const char* logs_folder = "logs";
inline constexpr std::string_view log_suffix = ".log";
inline constexpr std::string_view old_log_suffix = ".old";
inline constexpr std::string_view record_suffix = ".run";

// Both files of a log together hold twice this.
inline constexpr std::uint64_t log_half = std::uint64_t{8} * 1024 * 1024;

class RunLog {
 public:
  RunLog() = default;  // keeps nothing
  // Begins a new log in the place of that of an earlier run; one that lasts is an error.
  static Result<RunLog> begin(const std::string& state_directory, RunStatus status,
                              std::uint64_t half = log_half);

  // When AGENT.log is full it takes the place of AGENT.old. What cannot be written (a full disk)
  // is lost, and its bytes are counted.
  void append(std::string_view bytes);
  // Records how the run ended. `killed`: nobody saw how.
  Result<void> end(RunStatus::State state, int status);

  std::uint64_t lost_bytes() const noexcept { return lost_; }

 private:
  RunLog(Fd folder, Fd record, RunStatus status, std::uint64_t half)
      : folder_(std::move(folder)),
        record_(std::move(record)),
        status_(std::move(status)),
        half_(half) {}
  Result<void> open_file();
  Result<void> write_record();

  Fd folder_;
  Fd record_;
  RunStatus status_;
  std::uint64_t half_ = log_half;
  Fd file_;
  std::uint64_t size_ = 0;
  std::uint64_t lost_ = 0;
};

// Removes the logs of runs that have ended more than seven days before `now` (ms since the epoch).
void remove_old_logs(const std::string& state_directory, std::int64_t now);

// The detached runs that have ended and whose logs are still there, by agent.
Result<std::vector<RunStatus>> ended_runs(const std::string& state_directory);

}  // namespace sluice::launcher
