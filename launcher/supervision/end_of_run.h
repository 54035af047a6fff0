// What a person is told when a run has ended: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/plan/plan.h"
#include "launcher/supervision/erofs_watch.h"
#include "netns/summary.h"

namespace sluice::launcher {

struct EndOfRun {
  int status = 0;                     // what sluice exits with
  bool was_running = false;           // the agent's command ran
  bool timed_out = false;             // its --timeout ended it
  netns::AgentEnd account;            // of its connections
  std::string limit;                  // ", and what limit it ran into"; "" for none
  bool was_heard = false;             // what it said on its terminal or standard error
  const ErofsWatch* heard = nullptr;  // there
};

// Lines without "sluice: ", the summary last.
std::vector<std::string> tell_end(const Plan& plan, const EndOfRun& end);

}  // namespace sluice::launcher
