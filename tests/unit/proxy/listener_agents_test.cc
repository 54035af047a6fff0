#include "proxy/daemon/listener_agents.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include "allowlists/load.h"
#include "proxy/daemon/source_map.h"
#include "proxy/session/caller.h"

namespace sluice::proxy {
namespace {

std::shared_ptr<const allowlists::Policy> some_policy() {
  const allowlists::Source source{
      "policy.yaml", "version: 1\nagents:\n  \"*\":\n    allow: [{host: allowed.test}]\n"};
  return allowlists::load(std::span(&source, 1))->policy;
}

class TheListenerAgents : public testing::Test {
 protected:
  TheListenerAgents() { agents.set_policy(policy); }

  const std::shared_ptr<const allowlists::Policy> policy = some_policy();
  metrics::Registry registry;
  Allowances allowances;
  ListenerAgents agents{registry, allowances};
};

TEST_F(TheListenerAgents, AreOneForAllWhoComeWithItsName) {
  const auto first = agents.visit("coder-5");
  const auto second = agents.visit("coder-5");
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, *second);
  const auto kept = agents.keep("coder-1");
  EXPECT_EQ(*agents.visit("coder-1"), kept);
  EXPECT_EQ(agents.keep("coder-1"), kept);
}

TEST_F(TheListenerAgents, AreLetGoWhenNobodyUsesThem) {
  std::weak_ptr<Agent> gone = *agents.visit("coder-5");
  EXPECT_TRUE(gone.expired());
  std::vector<std::shared_ptr<Agent>> live;
  for (std::size_t i = 0; i < ListenerAgents::most_visiting; ++i) {
    live.push_back(*agents.visit(fmt::format("agent-{}", i)));
  }
  const auto refused = agents.visit("one-more");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_TRUE(agents.visit("agent-7")) << "one that is here already";
  live.pop_back();
  EXPECT_TRUE(agents.visit("one-more"));
}

TEST_F(TheListenerAgents, ShareNoNameWithARegisteredAgent) {
  agents.keep("coder-1");
  EXPECT_FALSE(agents.reserve("coder-1"));
  auto visiting = *agents.visit("coder-5");
  EXPECT_FALSE(agents.reserve("coder-5"));
  visiting.reset();
  EXPECT_TRUE(agents.reserve("coder-5"));
  const auto taken = agents.visit("coder-5");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().what, "the agent name 'coder-5' is taken");
  agents.release("coder-5");
  EXPECT_TRUE(agents.visit("coder-5"));
}

TEST_F(TheListenerAgents, HaveNamesOfAgentsOnly) {
  for (const std::string name : {"", "-a", "a b", "a\nb", "(unidentified)", "*", "\xff"}) {
    EXPECT_FALSE(agents.visit(name)) << name;
  }
  EXPECT_FALSE(allowlists::is_agent_name(nobody_name));
}

TEST_F(TheListenerAgents, HaveTheNewPolicyWhetherKeptOrVisiting) {
  const auto kept = agents.keep("coder-1");
  const auto visiting = *agents.visit("coder-5");
  const auto nobody = agents.nobody();
  const auto next = some_policy();
  agents.set_policy(next);
  for (const auto& agent : {kept, visiting, nobody, *agents.visit("coder-6")}) {
    EXPECT_EQ(agent->rules().get(), &next->for_agent(agent->name));
  }
}

TEST_F(TheListenerAgents, HaveNoPeerToTell) {
  const auto agent = agents.keep("coder-1");
  agent->lease.tell_denied("a sentence");
  EXPECT_TRUE(agent->lease.tell_binding({}));
}

TEST(SourceMap, AnswersTheLongestRangeOfTheAddressesFamily) {
  metrics::Registry registry;
  Allowances allowances;
  ListenerAgents agents(registry, allowances);
  agents.set_policy(some_policy());
  SourceMap map;
  for (const auto& [range, name] : {std::pair("0.0.0.0/0", "all"),
                                    {"10.1.0.0/16", "site"},
                                    {"10.1.2.0/24", "lan"},
                                    {"10.1.2.3", "one"},
                                    {"2001:db8::/32", "six"},
                                    {"2001:db8::1", "one-six"}}) {
    map.add(*Cidr::parse(range), agents.keep(name));
  }
  const auto named = [&](std::string_view address) {
    const auto agent = map.find(*IpAddress::parse(address));
    return agent ? agent->name : std::string();
  };
  EXPECT_EQ(named("10.1.2.3"), "one");
  EXPECT_EQ(named("10.1.2.4"), "lan");
  EXPECT_EQ(named("10.1.3.4"), "site");
  EXPECT_EQ(named("192.0.2.1"), "all");
  EXPECT_EQ(named("2001:db8::1"), "one-six");
  EXPECT_EQ(named("2001:db8::2"), "six");
  EXPECT_EQ(named("2001:db9::2"), "");
}

}  // namespace
}  // namespace sluice::proxy
