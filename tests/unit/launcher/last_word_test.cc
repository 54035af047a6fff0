#include "launcher/supervision/last_word.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(LastWord, SaysWhyTheAgentEnded) {
  const struct {
    RunEnd end;
    AgentEnd why;
  } cases[] = {
      {{.status = 0, .was_running = true}, AgentEnd::succeeded},
      {{.status = 3, .was_running = true}, AgentEnd::failed},
      {{.status = 139, .was_running = true}, AgentEnd::signal},
      {{.status = 124, .was_running = true, .timed_out = true}, AgentEnd::timeout},
      {{.status = 124, .was_running = true}, AgentEnd::failed},
      {{.status = 137, .was_running = true, .out_of_memory = true}, AgentEnd::memory_limit},
      {{.status = 143, .was_running = true, .stop_asked = true}, AgentEnd::stopped},
      {{.status = 127}, AgentEnd::not_started},
      {{.status = 143, .stop_asked = true}, AgentEnd::not_started},
  };
  for (const auto& [end, why] : cases) {
    EXPECT_EQ(agent_end(end), why) << agent_end_name(why) << ' ' << end.status;
    EXPECT_EQ(end_event(end).status, static_cast<std::uint64_t>(end.status));
  }
}

TEST(LastWord, AProbeHeldWhereNothingWasReached) {
  EXPECT_TRUE(probe_event("").ok);
  EXPECT_FALSE(probe_event("the probe 'vsock' reached the host").ok);
}

}  // namespace
}  // namespace sluice::launcher
