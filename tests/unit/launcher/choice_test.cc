#include "launcher/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"

namespace sluice::launcher {
namespace {

PolicyChoice policy_of(const std::string& agents) {
  PolicyChoice choice;
  choice.path = "/etc/sluice/policy.yaml";
  choice.sources = {{"policy.yaml", "version: 1\nagents:\n" + agents}};
  auto loaded = allowlists::load(choice.sources);
  EXPECT_TRUE(loaded);
  if (loaded) choice.policy = loaded->policy;
  return choice;
}

const std::string rules = ":\n    allow:\n      - host: api.example.com\n";

TEST(ThePolicy, IsLookedForWhereOthersKeepTheirs) {
  Machine machine = sample_machine();
  EXPECT_EQ(policy_search_path(machine),
            (std::vector<std::string>{"/home/ana/.config/sluice/policy.yaml",
                                      "/etc/sluice/policy.yaml"}));
  machine.environment = {"XDG_CONFIG_HOME=/cfg/"};
  EXPECT_EQ(policy_search_path(machine).front(), "/cfg/sluice/policy.yaml");
  machine.environment = {"XDG_CONFIG_HOME=relative"};
  EXPECT_EQ(policy_search_path(machine).front(), "/home/ana/.config/sluice/policy.yaml");
}

TEST(ThePolicy, ThatWasNamedMustBeThere) {
  RunOptions options;
  options.policy = "/nonexistent/policy.yaml";
  EXPECT_FALSE(choose_policy(options, sample_machine()));
}

TEST(TheAgent, IsThePolicysOnlyExactOne) {
  const auto one = policy_of("  coder-1" + rules + "  \"*\"" + rules);
  EXPECT_EQ(choose_agent({}, sample_machine(), &one), "coder-1");
}

TEST(TheAgent, IsNamedAfterThePersonWhereThePolicyNamesMany) {
  const auto many = policy_of("  a" + rules + "  b" + rules + "  \"ana-*\"" + rules);
  const auto name = choose_agent({}, sample_machine(), &many);
  ASSERT_TRUE(name);
  EXPECT_THAT(*name, ::testing::MatchesRegex("ana-[0-9a-f]{4}"));
}

TEST(TheAgent, MustBeKnownToThePolicy) {
  const auto policy = policy_of("  a" + rules + "  b" + rules);
  RunOptions options;
  options.agent = "c";
  EXPECT_EQ(to_string(choose_agent(options, sample_machine(), &policy).error()),
            "error: no entry of '/etc/sluice/policy.yaml' matches the agent 'c'\n"
            "hint: add it under 'agents:', or name one of: a, b");
  EXPECT_EQ(choose_agent(options, sample_machine(), nullptr), "c");
}

TEST(TheAgent, HasAPlainName) {
  for (const char* name : {"", "-a", "a/b", "a b", "../x", ".a"}) {
    RunOptions options;
    options.agent = name;
    EXPECT_EQ(
        to_string(choose_agent(options, sample_machine(), nullptr).error()),
        "error: '" + std::string(name) +
            "' is not an agent's name\nhint: --agent takes 1 to 63 letters, digits, '.', '_' and "
            "'-', a letter or digit first");
  }
}

// The socket of a shared one, "embedded", or "refused".
std::string chosen_proxy(const RunOptions& options, SharedExists shared_exists) {
  const auto proxy = choose_proxy(options, shared_exists);
  if (!proxy) return "refused";
  return proxy->value_or("embedded");
}

TEST(TheProxy, IsTheMachinesWhereItRunsOne) {
  EXPECT_EQ(chosen_proxy({}, SharedExists::yes), shared_socket);
  EXPECT_EQ(chosen_proxy({}, SharedExists::no), "embedded");
  RunOptions options;
  options.proxy = "embedded";
  EXPECT_EQ(chosen_proxy(options, SharedExists::yes), "embedded");
  options.proxy = "/run/other.sock";
  EXPECT_EQ(chosen_proxy(options, SharedExists::no), "/run/other.sock");
}

TEST(TheProxy, OfTheMachineTakesNoPolicyFromARun) {
  RunOptions options;
  options.policy = "p.yaml";
  EXPECT_EQ(to_string(choose_proxy(options, SharedExists::yes).error()),
            "error: the sluiced at '/run/sluice/handover.sock' decides and audits by its own "
            "configuration: --policy would mean nothing\n"
            "hint: add --proxy embedded to run with your own");
  options.proxy = "embedded";
  EXPECT_TRUE(choose_proxy(options, SharedExists::yes));
}

}  // namespace
}  // namespace sluice::launcher
