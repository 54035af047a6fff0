// Asks the supervisors of this user's runs: who is there, and to end.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/sessions/door.h"
#include "launcher/sessions/run_status.h"

namespace sluice::launcher {

struct Answers {
  std::vector<RunStatus> runs;  // by agent
  std::vector<Error> silent;    // those that did not answer
};
// All at the same time. What a killed run left of sockets is removed.
Result<Answers> ask_all(const std::string& directory);

// Answers when nothing of the run is left: false where none was running.
Result<bool> stop_run(const std::string& directory, const std::string& agent, Stop how);

}  // namespace sluice::launcher
