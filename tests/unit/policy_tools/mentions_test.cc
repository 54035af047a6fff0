#include "allowlists/tools/mentions.h"

#include <gtest/gtest.h>

#include "allowlists/tools/next_step.h"
#include "generated_policies.h"

namespace sluice::allowlists {
namespace {

using namespace generated;

// "policy.yaml:5 allow *.example.com, yes, 0" each: place, effect, subject, port, level; the one
// that decides with a star.
std::vector<std::string> told(const PolicyText& text, std::string_view target) {
  const Mentions found = mentions_of(text, "coder-1", target_of(target));
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < found.rules.size(); ++i) {
    const Mention& one = found.rules[i];
    lines.push_back(fmt::format("{}{} {} {} {} {}", found.decides == i ? "*" : "",
                                text.places[one.rule->id],
                                one.never                           ? "never"
                                : one.rule->effect == Effect::allow ? "allow"
                                                                    : "deny",
                                subject_of(*one.rule), one.has_port ? "yes" : "no", one.level));
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Mentions, ListEveryRuleThatSpeaksOfANameTheMostSpecificFirst) {
  const PolicyText text = text_of(R"(version: 1
never:
  - host: "*.corp.example"
  - cidr: 10.0.0.0/8
agents:
  coder-1:
    deny:
      - any: true
        ports: [22]
      - host: api.example.com
        ports: [8443]
    allow:
      - host: ".example.com"
        ports: [443, 8443]
      - host_regex: "API\\.example\\..*"
      - host: api.example.com
      - host: example.com
      - cidr: 192.0.2.0/24
)");
  EXPECT_EQ(told(text, "api.example.com"), (Lines{"policy.yaml:10 deny api.example.com no 0",
                                                  "*policy.yaml:16 allow api.example.com yes 0",
                                                  "policy.yaml:13 allow .example.com yes 1",
                                                  "policy.yaml:15 allow /API\\.example\\..*/ yes 2",
                                                  "policy.yaml:8 deny any no 3"}));
  EXPECT_EQ(told(text, "example.com:22"),
            (Lines{"*policy.yaml:17 allow example.com no 0",
                   "policy.yaml:13 allow .example.com no 1", "policy.yaml:8 deny any yes 2"}));
  EXPECT_EQ(told(text, "x.corp.example:22"),
            (Lines{"*policy.yaml:3 never *.corp.example yes 0", "policy.yaml:8 deny any yes 1"}));
  EXPECT_EQ(told(text, "192.0.2.1"), (Lines{"*policy.yaml:18 allow 192.0.2.0/24 yes 0"}));
  EXPECT_EQ(told(text, "10.0.0.1"), (Lines{"*policy.yaml:4 never 10.0.0.0/8 yes 0"}));
  EXPECT_EQ(told(text, "other.test"), (Lines{"policy.yaml:8 deny any no 0"}));
}

TEST(Mentions, OfThisMachinesLoopbackAreItsNameAndTheRangesThatOpenIt) {
  const PolicyText text = coder(R"(    allow:
      - any: true
      - cidr: 127.0.0.0/8
        ports: [8080]
)");
  EXPECT_EQ(told(text, "host.sluice.internal:8080"),
            (Lines{"*policy.yaml:6 allow 127.0.0.0/8 yes 0"}));
  EXPECT_EQ(told(text, "host.sluice.internal:80"),
            (Lines{"*policy.yaml:6 allow 127.0.0.0/8 no 0"}));
}

TEST(Mentions, OfAnUnknownAgentAreNone) {
  const PolicyText text = coder("    allow: [{any: true}]\n");
  const Mentions found = mentions_of(text, "other", target_of("example.com"));
  EXPECT_EQ(found.entry, nullptr);
  EXPECT_TRUE(found.rules.empty());
}

TEST(Mentions, AgreeWithEnforcementOnTheRuleThatDecides) {
  PolicyGenerator generator(20260103);
  std::size_t decided = 0;
  for (int round = 0; round < 300; ++round) {
    const std::string yaml = generator.policy();
    const PolicyText text = text_of(yaml);
    const auto policy = compile(text);
    for (int i = 0; i < 40; ++i) {
      const Target target = generator.target();
      const std::string agent = fmt::format("coder-{}", generator.below(4));
      const Decision decision = policy->for_agent(agent).decide(target);
      const Mentions found = mentions_of(text, agent, target);
      const std::string_view by =
          found.decides ? text.places[found.rules[*found.decides].rule->id] : "default";
      ASSERT_EQ(by, decision.rule)
          << agent << ' ' << target.to_string() << ' ' << reason_name(decision.reason) << '\n'
          << yaml;
      if (found.decides) ++decided;
    }
  }
  EXPECT_GT(decided, 3000U);
}

std::string step(const std::string& yaml, std::string_view agent, std::string_view asked) {
  const PolicyText text = text_of(yaml);
  const auto policy = compile(text);
  const Target target = target_of(asked);
  const Decision decision = policy->for_agent(agent).decide(target);
  const Mentions mentions = mentions_of(text, agent, target);
  return next_step({text, *policy, agent, target, decision, mentions});
}

TEST(NextStep, IsTheLineToAddOrTheRuleToRemove) {
  const std::string yaml = R"(version: 1
never: [{host: "*.corp.example"}]
agents:
  coder-*:
    allow:
      - host: "*.example.com"
      - host: api.example.org
      - cidr: 10.0.0.0/8
        ports: [5432, 80]
    deny:
      - host: gist.example.com
        ports: [443, 80]
      - host: ".bad.example.com"
)";
  struct Case {
    const char* target;
    const char* step;
  };
  const Case cases[] = {
      {"api.example.com", ""},
      {"new.example.net",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {host: new.example.net, ports: [443]}"},
      {"new", "add to 'allow' of 'coder-*' (policy.yaml:4): - {host: \"new\", ports: [443]}"},
      {"a.example.com:22",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {host: a.example.com, ports: [22, 80, 443]}"},
      {"api.example.org:22",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {host: api.example.org, ports: [22]}"},
      {"gist.example.com", "remove the deny rule at policy.yaml:11, or port 443 of its ports"},
      {"a.bad.example.com",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {host: a.bad.example.com, ports: [443]}"},
      {"x.corp.example", "no rule of an agent opens it; change 'never' at policy.yaml:2"},
      {"10.0.0.1:22",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {cidr: \"10.0.0.1/32\", ports: [22, 80, 5432]}"},
      {"192.168.0.1:22",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {cidr: \"192.168.0.1/32\", ports: [22]}"},
      {"[64:ff9b::c0a8:1]:22",
       "add to 'allow' of 'coder-*' (policy.yaml:4): - {cidr: \"64:ff9b::c0a8:1/128\", ports: [22]}"
       " and - {cidr: \"192.168.0.1/32\", ports: [22]}"},
      {"host.sluice.internal:8080",
       "add to 'allow' of 'coder-*' (policy.yaml:4): "
       "- {cidr: \"127.0.0.1/32\", ports: [8080]}"},
      {"169.254.169.254:80", "no rule opens it: nothing at such an address is meant for an agent"},
  };
  for (const Case& one : cases) EXPECT_EQ(step(yaml, "coder-1", one.target), one.step);
  EXPECT_EQ(step(yaml, "other", "a.test:22"),
            "add under 'agents': other: {allow: [{host: a.test, ports: [22]}]}");
}

// `yaml` with the lines of a step at the head of every entry's allow list.
std::string with_lines(std::string yaml, const std::string& step) {
  std::string lines = step.substr(step.find(": - ") + 2);
  for (std::size_t at = lines.find(" and - "); at != std::string::npos;
       at = lines.find(" and - ")) {
    lines.replace(at, 5, "\n      ");
  }
  for (std::size_t at = yaml.find("    allow:"); at != std::string::npos;
       at = yaml.find("    allow:", at + 1)) {
    const std::size_t end = at + std::string_view("    allow:").size();
    if (yaml.substr(end, 3) == " []") yaml.erase(end, 3);
    yaml.insert(end, "\n      " + lines);
  }
  return yaml;
}

TEST(NextStep, OpensTheTargetAndClosesNoneOfItsPorts) {
  PolicyGenerator generator(4);
  std::size_t opened = 0;
  for (int round = 0; round < 50; ++round) {
    const std::string yaml = generator.policy();
    const auto before = compile(text_of(yaml));
    for (int i = 0; i < 10; ++i) {
      const Target target = generator.target();
      const std::string said = step(yaml, "coder-1", target.to_string());
      if (!said.starts_with("add to 'allow'")) continue;
      const std::string changed = with_lines(yaml, said);
      const auto after = compile(text_of(changed));
      for (const std::uint16_t port : std::vector<std::uint16_t>{22, 80, 443, 8443}) {
        const Target one{target.host, port};
        const bool open = port == target.port ||
                          before->for_agent("coder-1").decide(one).verdict == Verdict::allow;
        if (!open) continue;
        ASSERT_EQ(after->for_agent("coder-1").decide(one).verdict, Verdict::allow)
            << one.to_string() << ' ' << said << '\n'
            << changed;
      }
      ++opened;
    }
  }
  EXPECT_GT(opened, 100U);
}

}  // namespace
}  // namespace sluice::allowlists
