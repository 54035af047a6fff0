#include "netns/summary.h"

#include <gtest/gtest.h>

namespace sluice::netns {
namespace {

TEST(TheEnd, IsOneLineOfWhatWasAllowedAndBlocked) {
  EXPECT_EQ(summary("coder-1", {}), "coder-1: allowed 0, blocked 0");
  Totals totals;
  totals.allowed = 3;
  totals.denied = {{"not_listed", 1}, {"port_not_allowed", 1}};
  EXPECT_EQ(summary("coder-1", totals),
            "coder-1: allowed 3, blocked 2 (not_listed 1, port_not_allowed 1)");
  totals.reported = {{"not_listed", 3}};
  EXPECT_EQ(summary("coder-1", totals),
            "coder-1: allowed 3, reported 3 (not_listed 3), blocked 2 (not_listed 1, "
            "port_not_allowed 1)");
}

TEST(TheEnd, SaysWhatNoSluicedCountedOrCountedAnew) {
  EXPECT_EQ(end_line("coder-1", {Totals{}, 1, 0}),
            "coder-1: allowed 0, blocked 0, refused 1 UDP datagram");
  EXPECT_EQ(end_line("coder-1", {Totals{}, 2, 1}),
            "coder-1: allowed 0, blocked 0, counted since sluiced was started again, refused 2 UDP "
            "datagrams");
  EXPECT_EQ(end_line("coder-1", {std::nullopt, 0, 1}),
            "coder-1: sluiced is gone, and its counts with it");
}

TEST(AKernelWithoutNfTables, IsNamedWithWhatItMeans) {
  EXPECT_EQ(
      without_rules({80, 443}),
      "this kernel has no nf_tables: connections reach the policy on the ports it opens alone "
      "(80, 443), the agent's own kernel refuses all others, refuses datagrams uncounted, and "
      "answers pings");
  EXPECT_NE(without_rules({}).find("alone (none)"), std::string::npos);
}

}  // namespace
}  // namespace sluice::netns
