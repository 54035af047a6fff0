#include <fmt/core.h>

#include "tests/unit/allowlists/policies.h"

namespace sluice::allowlists {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

OpenPorts of_agent(std::string_view rules, std::string_view agent = "coder-1",
                   std::string_view groups = "") {
  const auto policy = policy_of(
      fmt::format("version: 1\nnever:\n  - {{host: a.test, ports: [1]}}\n{}agents:\n  coder-1:\n{}",
                  groups, rules));
  return policy->for_agent(agent).open_ports();
}

TEST(OpenPorts, AreThoseOfEveryKindOfAllowRuleAndOfGroupsEachOnceInOrder) {
  const OpenPorts open =
      of_agent(R"(    use: [group:mail]
    allow:
      - {host: b.test, ports: [8443, 22]}
      - {host: "*.c.test", ports: [8443]}
      - {host_regex: "d[0-9]\\.test", ports: [9000]}
      - {cidr: 10.0.0.0/8, ports: [5432]}
      - {any: true, ports: [443]}
)",
               "coder-1", "groups:\n  mail: [{host: mail.test, ports: [587]}]\n");
  EXPECT_FALSE(open.any);
  EXPECT_THAT(open.ports, ElementsAre(22, 443, 587, 5432, 8443, 9000));
}

TEST(OpenPorts, OfARuleWithoutPortsAre80And443) {
  EXPECT_THAT(of_agent("    allow: [{host: b.test}]\n").ports, ElementsAre(80, 443));
}

TEST(OpenPorts, AreNotThoseOfDenyAndNeverRules) {
  const OpenPorts open = of_agent(
      "    allow: [{host: b.test, ports: [443]}]\n    deny: [{host: c.test, ports: [25]}]\n");
  EXPECT_THAT(open.ports, ElementsAre(443));
}

TEST(OpenPorts, AreAnyInReportModeWhereEveryPortPasses) {
  const OpenPorts open = of_agent("    mode: report\n    allow: [{host: b.test}]\n");
  EXPECT_TRUE(open.any);
  EXPECT_THAT(open.ports, IsEmpty());
}

TEST(OpenPorts, AreAnyWhenThereAreMoreThanAListHolds) {
  std::string rules = "    allow:\n";
  for (std::size_t i = 0; i < OpenPorts::most; ++i) {
    rules += fmt::format("      - {{host: b.test, ports: [{}]}}\n", 1000 + i);
  }
  EXPECT_EQ(of_agent(rules).ports.size(), OpenPorts::most);
  EXPECT_TRUE(of_agent(rules + "      - {host: c.test, ports: [9]}\n").any);
}

TEST(OpenPorts, OfAnUnknownAgentAndOfAnEmptyPolicyAreNone) {
  EXPECT_EQ(of_agent("    allow: [{host: b.test}]\n", "stranger"), OpenPorts());
  EXPECT_EQ(empty_policy()->for_agent("coder-1").open_ports(), OpenPorts());
}

}  // namespace
}  // namespace sluice::allowlists
