#include "metrics/top_blocked.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace sluice::metrics {
namespace {

AuditLine refused(std::string agent, std::string host, Reason reason = Reason::not_listed) {
  AuditLine line;
  line.agent = std::move(agent);
  line.via = Via::connect;
  line.host = std::move(host);
  line.port = 443;
  line.verdict = Verdict::deny;
  line.reason = reason;
  line.rule = "policy.yaml:7";
  return line;
}

std::vector<std::string> hosts_of(const TopBlocked& top, const std::string& agent) {
  std::vector<std::string> hosts;
  for (const Blocked& one : top.all()) {
    if (one.agent == agent) hosts.push_back(one.host);
  }
  return hosts;
}

TEST(TopBlocked, CountsEachHostOfAnAgentByItsReasonAndTheMostComeFirst) {
  TopBlocked top;
  top.add(refused("a", "once.test"));
  for (int i = 0; i < 3; ++i) top.add(refused("b", "often.test"));
  top.add(refused("b", "often.test", Reason::port_not_allowed));
  const auto all = top.all();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].agent + " " + all[0].host, "b often.test");
  EXPECT_EQ(all[0].count, 3U);
  EXPECT_EQ(all[0].over, 0U);
  EXPECT_EQ(all[0].port, 443);
  EXPECT_EQ(all[0].rule, "policy.yaml:7");
  EXPECT_EQ(all[0].reason, Reason::not_listed);
}

TEST(TopBlocked, CountsNothingThatPassedButWhatReportModeLetPass) {
  TopBlocked top;
  AuditLine line = refused("a", "x.test");
  line.verdict = Verdict::allow;
  line.reason = Reason::listed;
  top.add(line);
  line.verdict = Verdict::deny;
  line.via = Via::event;
  top.add(line);
  EXPECT_TRUE(top.all().empty());
  line.via = Via::http;
  line.verdict = Verdict::report;
  line.reason = Reason::reported;
  line.would_deny = Reason::not_listed;
  top.add(line);
  ASSERT_EQ(top.all().size(), 1U);
  EXPECT_EQ(top.all().front().verdict, Verdict::report);
  EXPECT_EQ(top.all().front().reason, Reason::not_listed);
}

TEST(TopBlocked, KeepsWhatIsFrequentAmongAnyNumberOfOtherHosts) {
  TopBlocked top;
  for (int i = 0; i < 10'000; ++i) {
    top.add(refused("a", "random" + std::to_string(i) + ".test"));
    if (i % 10 == 0) top.add(refused("a", "often.test"));
  }
  const auto all = top.all();
  EXPECT_EQ(all.size(), TopBlocked::hosts_per_agent);
  const auto often = std::ranges::find(all, "often.test", &Blocked::host);
  ASSERT_NE(often, all.end());
  // Never too few, and `over` says how many at most are too many.
  EXPECT_GE(often->count, 1000U);
  EXPECT_LE(often->count - often->over, 1000U);
}

TEST(TopBlocked, OfOneAgentCrowdsOutNothingOfAnothers) {
  TopBlocked top;
  top.add(refused("quiet", "once.test"));
  for (int i = 0; i < 10'000; ++i) top.add(refused("loud", std::to_string(i) + ".test"));
  EXPECT_THAT(hosts_of(top, "quiet"), testing::ElementsAre("once.test"));
}

TEST(TopBlocked, KeepsTheAgentsThatWereRefusedLast) {
  TopBlocked top;
  top.add(refused("stays", "x.test"));
  for (std::size_t i = 0; i < TopBlocked::most_agents; ++i) {
    top.add(refused("a" + std::to_string(i), "x.test"));
    top.add(refused("stays", "x.test"));
  }
  EXPECT_EQ(top.all().size(), TopBlocked::most_agents);
  EXPECT_EQ(hosts_of(top, "stays").size(), 1U);
  EXPECT_TRUE(hosts_of(top, "a0").empty());
}

}  // namespace
}  // namespace sluice::metrics
