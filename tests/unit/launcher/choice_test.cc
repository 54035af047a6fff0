#include "launcher/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sample.h"

namespace sluice::launcher {
namespace {

PolicyChoice policy_of(const std::string& agents) {
  PolicyChoice choice;
  auto read =
      policy_from("/etc/sluice/policy.yaml", {{"policy.yaml", "version: 1\nagents:\n" + agents}});
  EXPECT_TRUE(read);
  if (read) choice = std::move(*read);
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

TEST(TheProxy, OfTheMachineTakesNoAmendmentFromARun) {
  RunOptions allowing;
  allowing.allow = {"api.example.com"};
  RunOptions reporting;
  reporting.report = true;
  for (const auto& [options, name] :
       {std::pair(allowing, "allow"), std::pair(reporting, "report")}) {
    EXPECT_EQ(to_string(choose_proxy(options, SharedExists::yes).error()),
              "error: the sluiced at '/run/sluice/handover.sock' decides and audits by its own "
              "configuration: --" +
                  std::string(name) +
                  " would mean nothing\n"
                  "hint: add --proxy embedded to run with your own");
  }
}

allowlists::Target target(const char* authority) {
  return *allowlists::Target::parse(authority, 443);
}

TEST(AnAmendedPolicy, IsTheOneThatSluicedWillHave) {
  auto choice = policy_of("  \"coder-*\"" + rules);
  RunOptions options;
  options.allow = {"new.example.com:8443"};
  options.report = true;
  ASSERT_TRUE(amend_policy(options, "coder-1", choice));
  EXPECT_EQ(choice.amendment.agent, "coder-1");
  EXPECT_EQ(choice.amendment.allow, options.allow);
  EXPECT_EQ(choice.amendment.mode, allowlists::Mode::report);
  const auto& now = choice.policy->for_agent("coder-1");
  EXPECT_EQ(now.decide(target("new.example.com:8443")).rule, "flag:1");
  EXPECT_EQ(now.decide(target("other.example.com")).verdict, Verdict::report);
  EXPECT_EQ(policy_notices(options, "coder-1", choice),
            std::vector<std::string>{"report mode: what the policy would block passes and is "
                                     "counted; --audit FILE logs it"});
  options.audit = "a.jsonl";
  EXPECT_EQ(
      policy_notices(options, "coder-1", choice),
      std::vector<std::string>{"report mode: what the policy would block passes and is logged"});
}

TEST(AnAmendedPolicy, NeedsNoFile) {
  PolicyChoice choice;
  choice.policy = allowlists::empty_policy();
  RunOptions options;
  options.allow = {"new.example.com"};
  ASSERT_TRUE(amend_policy(options, "ana-1234", choice));
  const auto& now = choice.policy->for_agent("ana-1234");
  EXPECT_TRUE(now.decide(target("new.example.com")));
  EXPECT_EQ(now.decide(target("other.example.com")).reason, Reason::not_listed);
  EXPECT_TRUE(policy_notices(options, "ana-1234", choice).empty());
}

TEST(AnAmendedPolicy, TellsWhichAllowItRefusesNevertheless) {
  auto choice = policy_of("  coder-1:\n    deny:\n      - host: gist.example.com\n");
  RunOptions options;
  options.allow = {"gist.example.com", "fine.example.com", "169.254.169.254:80", "*.example.org"};
  ASSERT_TRUE(amend_policy(options, "coder-1", choice));
  EXPECT_EQ(policy_notices(options, "coder-1", choice),
            (std::vector<std::string>{
                "--allow does not open gist.example.com:443: denied by policy.yaml:5",
                "--allow does not open 169.254.169.254:80: address_forbidden by default"}));
}

TEST(AnAmendedPolicy, RefusesWhatIsNoHost) {
  auto choice = policy_of("  coder-1" + rules);
  RunOptions options;
  options.allow = {"*.com"};
  const auto amended = amend_policy(options, "coder-1", choice);
  ASSERT_FALSE(amended);
  EXPECT_EQ(to_string(amended.error().front()),
            "error: --allow: '*.com' allows a whole top-level domain\n"
            "hint: name the domain you trust: *.example.com");
}

}  // namespace
}  // namespace sluice::launcher
