#include <string>
#include <vector>

#include "policies.h"

namespace sluice::allowlists {
namespace {

TEST(Policy, AnAgentsEntryIsItsNameThenTheNearestPattern) {
  const auto policy = policy_of(
      "version: 1\n"
      "agents:\n"
      "  \"*\": {allow: [{host: star.test}]}\n"
      "  coder-*: {allow: [{host: coder-star.test}]}\n"
      "  coder-*-x: {allow: [{host: coder-star-x.test}]}\n"
      "  coder-7: {allow: [{host: coder-7.test}]}\n"
      "  c*: {allow: [{host: c-star.test}]}\n");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"coder-7", "coder-7.test"},        {"coder-8", "coder-star.test"},
      {"coder-8-x", "coder-star-x.test"}, {"coder", "c-star.test"},
      {"reviewer", "star.test"},          {"coder-77", "coder-star.test"}};
  for (const auto& [agent, host] : cases) {
    EXPECT_TRUE(policy->knows(agent));
    for (const char* other :
         {"star.test", "coder-star.test", "coder-star-x.test", "coder-7.test", "c-star.test"}) {
      EXPECT_EQ(bool{policy->for_agent(agent).decide(target(other))}, other == host)
          << agent << ' ' << other;
    }
  }
  EXPECT_EQ(policy->exact_agents(), std::vector<std::string>{"coder-7"});
  EXPECT_EQ(policy->rule_count(), 5U);
  EXPECT_FALSE(policy->knows("-not-a-name"));
  EXPECT_FALSE(policy->knows(""));
}

TEST(Policy, AnUnknownAgentIsDeniedEverything) {
  const auto policy = policy_of("version: 1\nagents:\n  coder-1: {allow: [{any: true}]}\n");
  const AgentRules& rules = policy->for_agent("stranger");
  EXPECT_FALSE(policy->knows("stranger"));
  EXPECT_EQ(summary(rules.decide(target("a.test"))), "deny unknown_agent default");
  EXPECT_EQ(summary(rules.decide(target("10.0.0.1"))), "deny unknown_agent default");
  EXPECT_EQ(summary(rules.decide_any_port(*Host::parse("a.test"))), "deny unknown_agent default");
  EXPECT_EQ(summary(rules.judge_address(target("1.1.1.1"), ip("1.1.1.1"), OnThisMachine::no)),
            "deny unknown_agent default");
}

TEST(Policy, AnEmptyEntryDeniesEverything) {
  for (const char* lines : {"    {}\n", "    allow: []\n", "    deny: []\n"}) {
    const auto policy = policy_of(coder(lines));
    expect_decisions(
        *policy, {{"a.test", "deny not_listed default"}, {"1.1.1.1", "deny not_listed default"}});
  }
}

TEST(Policy, WithoutAFileNothingIsListed) {
  const auto policy = empty_policy();
  const AgentRules& rules = policy->for_agent("coder-1");
  EXPECT_TRUE(policy->knows("coder-1"));
  EXPECT_TRUE(policy->exact_agents().empty());
  EXPECT_EQ(policy->rule_count(), 0U);
  EXPECT_EQ(summary(rules.decide(target("a.test"))), "deny not_listed default");
  EXPECT_EQ(summary(rules.decide(target("1.1.1.1"))), "deny not_listed default");
  EXPECT_EQ(summary(rules.decide(target("10.0.0.1"))), "deny address_private default");
  EXPECT_EQ(summary(rules.decide(target("169.254.169.254"))), "deny address_forbidden default");
  EXPECT_EQ(summary(rules.decide_any_port(*Host::parse("a.test"))), "deny not_listed default");
  EXPECT_EQ(summary(rules.judge_address(target("1.1.1.1"), ip("1.1.1.1"), OnThisMachine::yes)),
            "deny address_private default");
}

}  // namespace
}  // namespace sluice::allowlists
