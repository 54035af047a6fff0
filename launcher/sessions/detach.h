// Lets a run go on in the background, with its output kept in its log.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

struct DetachOrder {
  std::string state_directory;
  RunStatus status;  // what the log's record begins with
  // In the process that keeps the log: gives up what the run alone must hold, such as locks.
  std::function<void()> let_go;
};

// What the run's process is told.
struct Detached {
  // One byte is written there when the agent runs. Where that fails, who started it is gone.
  int started = -1;
  std::vector<pid_t> company;  // the other two processes
};
using DetachedRun = std::function<int(const Detached&)>;

// The caller becomes three processes. One keeps the log, in a session of its own, until everybody
// who writes to it has ended; its child calls `run` with /dev/null to read from and the log to
// write to, and ends with what that answers, or with the keeper. In the caller's own process this
// answers when the agent has started, 0 then; else what `run` answered, with what it wrote on
// stderr; 125 where it could not be begun.
int detach(DetachOrder order, const DetachedRun& run);

}  // namespace sluice::launcher
