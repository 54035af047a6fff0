// What a supervisor tells sluiced of a run that is over: how it ended, and whether it was
// contained.
#pragma once

#include <string>

#include "base/agent_end.h"
#include "netns/handover.h"

namespace sluice::launcher {

struct RunEnd {
  int status = 0;              // what sluice exits with
  bool was_running = false;    // the agent's command ran
  bool timed_out = false;      // its --timeout ended it
  bool stop_asked = false;     // by 'sluice stop', or a signal that ends sluice
  bool out_of_memory = false;  // its own memory limit ended it
};

// The first that holds of: not_started, timeout, memory_limit, stopped; else what the status says.
// Pure.
AgentEnd agent_end(const RunEnd& end) noexcept;

netns::Event end_event(const RunEnd& end);
// `leak`: what a containment check reached; "": nothing.
netns::Event probe_event(std::string leak);

}  // namespace sluice::launcher
