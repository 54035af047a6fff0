#include "launcher/supervisor.h"

#include <gtest/gtest.h>

#include "launcher/sandbox/init.h"

namespace sluice::launcher {
namespace {

TEST(TheEnd, IsOneLineOfWhatWasAllowedAndBlocked) {
  EXPECT_EQ(summary("coder-1", {}), "coder-1: allowed 0, blocked 0");
  netns::Totals totals;
  totals.allowed = 3;
  totals.denied = {{"not_listed", 1}, {"port_not_allowed", 1}};
  EXPECT_EQ(summary("coder-1", totals),
            "coder-1: allowed 3, blocked 2 (not_listed 1, port_not_allowed 1)");
  totals.reported = {{"not_listed", 3}};
  EXPECT_EQ(summary("coder-1", totals),
            "coder-1: allowed 3, reported 3 (not_listed 3), blocked 2 (not_listed 1, "
            "port_not_allowed 1)");
}

TEST(TheExitStatus, IsTheCommandsOrOfItsSignal) {
  EXPECT_EQ(exit_status(0), 0);
  EXPECT_EQ(exit_status(7 << 8), 7);
  EXPECT_EQ(exit_status(9), 137);
  EXPECT_EQ(exit_status(15), 143);
}

}  // namespace
}  // namespace sluice::launcher
