// Reads what a detached run has written, also while it writes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

struct RunRecord {
  RunStatus status;
  bool lasts = false;  // somebody still writes to it
};

// Nothing where no run of that name has a log.
Result<std::optional<RunRecord>> read_record(const std::string& state_directory,
                                             const std::string& agent);
// The agents that have a record, sorted.
Result<std::vector<std::string>> logged_agents(const std::string& state_directory);

class RunLogReader {
 public:
  static Result<RunLogReader> open(const std::string& state_directory, std::string agent);

  // What was written since the last call, oldest first; "" when there is nothing more for now. At
  // most 64 KiB at a time.
  Result<std::string> read();
  // True once when something was dropped before it was read: the log is bounded.
  bool has_missed() noexcept { return std::exchange(missed_, false); }

 private:
  RunLogReader(Fd folder, std::string agent)
      : folder_(std::move(folder)), agent_(std::move(agent)) {}
  Fd open_one(std::string_view suffix) const;
  Fd find_next();

  Fd folder_;
  std::string agent_;
  Fd file_;
  bool missed_ = false;
};

}  // namespace sluice::launcher
