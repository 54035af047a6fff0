// groups, presets and `use`: rules by name.
#include "policies.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view shared = R"(version: 1
groups:
  build:
    - host: artifacts.example.com
      ports: [443]
      why: what the build downloads
    - host: ".cdn.example.net"
agents:
  coder-1:
    use: [group:build]
    allow:
      - host: api.example.com
  coder-2:
    use: [group:build]
    deny:
      - host: old.cdn.example.net
)";

TEST(AGroup, GivesItsRulesToEveryAgentThatUsesIt) {
  const auto policy = policy_of(std::string(shared));
  expect_decisions(*policy, {{"artifacts.example.com", "allow listed allow.yaml:4"},
                             {"artifacts.example.com:80", "deny port_not_allowed allow.yaml:4"},
                             {"old.cdn.example.net:80", "allow listed allow.yaml:7"},
                             {"api.example.com", "allow listed allow.yaml:12"}});
  const AgentRules& other = policy->for_agent("coder-2");
  EXPECT_EQ(summary(other.decide(target("old.cdn.example.net"))), "deny denied allow.yaml:16");
  EXPECT_EQ(summary(other.decide(target("new.cdn.example.net"))), "allow listed allow.yaml:7");
  EXPECT_EQ(summary(other.decide(target("api.example.com"))), "deny not_listed default");
}

TEST(AGroup, IsCountedOnceHoweverManyUseIt) {
  EXPECT_EQ(policy_of(std::string(shared))->rule_count(), 4U);
}

TEST(AGroup, MayStandInAnotherFileBeforeOrAfter) {
  const std::string groups = "version: 1\ngroups:\n  b:\n    - host: example.com\n";
  const std::string agents = "version: 1\nagents:\n  coder-1: {use: [group:b]}\n";
  for (const auto& sources : {std::vector<Source>{{"a.yaml", groups}, {"b.yaml", agents}},
                              std::vector<Source>{{"a.yaml", agents}, {"b.yaml", groups}}}) {
    const auto loaded = load(sources);
    ASSERT_TRUE(loaded) << joined(loaded.error());
    EXPECT_TRUE(loaded->policy->for_agent("coder-1").decide(target("example.com")));
  }
}

TEST(AGroup, ThatIsThereTwiceIsReportedWithBothPlaces) {
  const std::string text = "version: 1\ngroups:\n  b:\n    - host: example.com\n";
  const auto loaded = load(std::vector<Source>{
      {"a.yaml", text + "agents:\n  coder-1: {use: [group:b]}\n"}, {"b.yaml", text}});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(joined(loaded.error()),
            "b.yaml:3:3: error: group 'b' is there already, at a.yaml:3:3\n"
            "hint: make one of the two\n");
}

TEST(Use, RefusesWhatIsNotThereAndSuggestsTheNearest) {
  struct Case {
    std::string lines;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"    use: [group:nothing]\n",
       "allow.yaml:4:11: error: there is no group 'nothing'\nhint: define it under 'groups:'\n"},
      {"    use: [preset:githup]\n",
       "allow.yaml:4:11: error: there is no preset 'githup'\nhint: did you mean 'github'?\n"},
      {"    use: [preset:zzzzzzzzz]\n",
       "allow.yaml:4:11: error: there is no preset 'zzzzzzzzz'\n"
       "hint: 'sluice policy presets' lists them\n"},
      {"    use: [github]\n",
       "allow.yaml:4:11: error: 'github' is no group and no preset\n"
       "hint: write use: [preset:NAME, group:NAME]\n"},
      {"    use: preset:github\n",
       "allow.yaml:4:5: error: 'use' is a text, not a list\n"
       "hint: write use: [preset:NAME, group:NAME]\n"},
      {"    use: [preset:github, preset:github]\n",
       "allow.yaml:4:26: error: 'preset:github' stands here twice, first on line 4\n"
       "hint: keep one of them\n"},
      {"    use: [[a]]\n",
       "allow.yaml:4:11: error: a list is no group and no preset\n"
       "hint: write use: [preset:NAME, group:NAME]\n"},
  };
  for (const auto& [lines, expected] : cases) {
    EXPECT_EQ(errors_of(coder(lines)), expected) << lines;
  }
}

TEST(Groups, AreErrorsWhenUnusedOrMisshapen) {
  struct Case {
    std::string groups;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"groups:\n  b: [{host: example.com}]\n",
       "allow.yaml:2:3: error: no agent uses 'group:b'\n"
       "hint: remove it, or add it to the 'use' of an agent\n"},
      {"groups: []\n",
       "allow.yaml:1:1: error: 'groups' is a list, not a mapping\n"
       "hint: write NAME: [...] for each group\n"},
      {"groups:\n  \"b*\": []\n",
       "allow.yaml:2:3: error: 'b*' is no group name\n"
       "hint: use at most 63 letters, digits, '.', '_' and '-'\n"},
      {"groups:\n  b: {host: example.com}\nagents: {c: {use: [group:b]}}\n",
       "allow.yaml:2:3: error: 'b' is a mapping, not a list\n"
       "hint: write a list of rules, or [] for none\n"},
  };
  for (const auto& [groups, expected] : cases) {
    EXPECT_EQ(errors_of(groups + "version: 1\n"), expected) << groups;
  }
}

TEST(APreset, NamesItselfAsTheRuleThatDecided) {
  const auto policy = policy_of(coder("    use: [preset:github]\n"));
  const Decision decision = policy->for_agent("coder-1").decide(target("github.com"));
  EXPECT_TRUE(decision);
  EXPECT_TRUE(decision.rule.starts_with("preset:github:")) << decision.rule;
}

TEST(Groups, ThatGrowTooLargeWrittenOutAreAnError) {
  std::string text = "version: 1\ngroups:\n  b:\n";
  for (int i = 0; i < 8001; ++i) text += "    - host: h" + std::to_string(i) + ".example.com\n";
  text += "agents:\n";
  for (int i = 0; i < 500; ++i) text += "  a" + std::to_string(i) + ": {use: [group:b]}\n";
  const std::string errors = errors_of(text);
  EXPECT_EQ(errors.substr(errors.find("error")),
            "error: more than 4000000 rules once every 'use' is written out\n"
            "hint: let one pattern stand for the agents that use the same\n");
}

}  // namespace
}  // namespace sluice::allowlists
