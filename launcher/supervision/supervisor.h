// The process a person started: puts sandbox and proxy together, watches both, and tells how it
// ended.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strong.h"
#include "launcher/cgroup/group.h"
#include "launcher/plan/plan.h"
#include "launcher/sandbox/seccomp.h"
#include "launcher/sessions/run_status.h"
#include "launcher/supervision/proxy_keeper.h"

namespace sluice::launcher {

using Quiet = YesNo<struct QuietTag>;

// What sluice exits with of its own.
inline constexpr int run_timed_out = 124;
inline constexpr int sluice_failed = 125;

struct SupervisorOrder {
  Plan plan;
  std::vector<FilterProgram> filters;
  ProxyChoice proxy;
  std::optional<uid_t> host_id;        // for a root caller
  std::optional<cgroup::Group> group;  // goes when nothing of the run is left
  std::string sandbox;                 // as the policy wanted it when the plan was made
  int keep_changes = -1;  // a directory for what is written to the overlay; -1: nowhere
  // Told of the overlay's upper layer, to which nothing writes any more, and of the run's status.
  std::function<Result<void>(int changes, int status)> learn;
  std::optional<std::chrono::milliseconds> timeout;
  Quiet quiet = Quiet::no;
  RunStatus status;  // for those who ask at the door; its state is kept here
  int door = -1;     // a RunSocket's
  int started = -1;  // of a detached run: see DetachedRun
};

// Runs until nothing of the run is left. Answers what sluice exits with: 125 when sluice failed,
// 126 and 127 when the command could not be run or found, 124 after the timeout, else the agent's
// own status.
int supervise(SupervisorOrder order);

}  // namespace sluice::launcher
