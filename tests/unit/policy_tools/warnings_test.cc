#include "allowlists/tools/warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <set>

#include "allowlists/reporter.h"
#include "allowlists/tools/known_hosts.h"
#include "allowlists/tools/loose_regex.h"
#include "allowlists/tools/shadowed.h"
#include "generated_policies.h"

namespace sluice::allowlists {
namespace {

using namespace generated;

// "5: WHAT (HINT)" each.
std::vector<std::string> warnings(const PolicyText& text) {
  std::vector<std::string> lines;
  for (const Error& one : warnings_of(text)) {
    EXPECT_EQ(one.where->file, "policy.yaml");
    EXPECT_EQ(one.where->column, 0);
    lines.push_back(fmt::format("{}: {} ({})", one.where->line, one.what, one.hint));
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Warnings, NameARuleThatAnEquallySpecificOneMakesIdle) {
  EXPECT_EQ(warnings(coder(R"(    allow:
      - host: api.example.com
      - host: api.example.com
        ports: [443]
      - {host: a.example.com, ports: [443, 22]}
      - {host: a.example.com, ports: [22]}
      - {host: b.example.com, ports: [443]}
      - {host: b.example.com, ports: [443, 22]}
      - {host: c.example.com, ports: [443], tls: match}
      - {host: c.example.com, ports: [443]}
      - {host_regex: 'x[0-9]\.example\.com'}
      - {host_regex: 'x[0-9]\.example\.com'}
      - cidr: 10.0.0.0/8
      - cidr: 10.0.0.0/8
)")),
            (Lines{"6: this rule changes nothing: policy.yaml:5 says the same of 'api.example.com' "
                   "(remove it)",
                   "9: this rule changes nothing: policy.yaml:8 says the same of 'a.example.com' "
                   "(remove it)",
                   "10: this rule changes nothing: policy.yaml:11 says the same of 'b.example.com' "
                   "(remove it)",
                   "12: this rule changes nothing: policy.yaml:13 says the same of 'c.example.com' "
                   "(remove it)",
                   "15: this rule changes nothing: policy.yaml:14 says the same of "
                   "'/x[0-9]\\.example\\.com/' (remove it)",
                   "17: this rule changes nothing: policy.yaml:16 says the same of '10.0.0.0/8' "
                   "(remove it)"}));
}

TEST(Warnings, NameAnAllowRuleThatIsDeniedWhole) {
  EXPECT_EQ(
      warnings(text_of(R"(version: 1
never:
  - host: "*.corp.example"
  - cidr: 10.0.0.0/8
agents:
  coder-1:
    allow:
      - host: a.example.com
      - host: b.example.com
      - host: wiki.corp.example
      - host: ".corp.example"
      - cidr: 10.1.0.0/16
      - cidr: 169.254.0.0/16
      - cidr: 224.0.0.0/3
    deny:
      - host: a.example.com
      - {host: b.example.com, ports: [80, 443, 22]}
)")),
      (Lines{
          "8: this rule allows nothing: policy.yaml:16 denies 'a.example.com' (remove one of the "
          "two)",
          "9: this rule allows nothing: policy.yaml:17 denies 'b.example.com' (remove one of the "
          "two)",
          "10: this rule allows nothing: policy.yaml:3, under 'never', denies every name below "
          "'corp.example' (remove one of the two)",
          "12: this rule allows nothing: policy.yaml:4, under 'never', denies '10.0.0.0/8' "
          "(remove one of the two)",
          "13: nothing in '169.254.0.0/16' is ever dialled, whatever a rule says (remove it)"}));
}

TEST(Warnings, NameARuleThatTheNextBroaderOneRepeats) {
  EXPECT_EQ(warnings(coder(R"(    allow:
      - host: ".example.com"
      - host: api.example.com
      - host: "*.sub.example.com"
      - {host: other.example.com, ports: [443]}
      - {host: "*.deep.sub.example.com", tls: match}
      - host: a.deep.sub.example.com
      - {host: x.example.net, ports: [80, 443]}
      - cidr: 10.0.0.0/8
      - cidr: 10.2.0.0/16
)")),
            (Lines{"6: this rule changes nothing: policy.yaml:5 says the same of every name below "
                   "'example.com' (remove it)",
                   "7: this rule changes nothing: policy.yaml:5 says the same of every name below "
                   "'example.com' (remove it)",
                   "13: this rule changes nothing: policy.yaml:12 says the same of '10.0.0.0/8' "
                   "(remove it)"}));
}

TEST(Warnings, DoNotGuessWhatARegexBetweenTwoRulesDoes) {
  constexpr std::string_view rules =
      "    allow:\n      - {any: true}\n      - {host: x.example.com}\n";
  EXPECT_THAT(warnings(coder(rules)), testing::SizeIs(2));
  EXPECT_THAT(warnings(coder(std::string(rules) +
                             "    deny: [{host_regex: 'x\\.example\\.com', ports: [80]}]\n")),
              testing::SizeIs(1));
}

TEST(Warnings, OfAGroupsRuleAreOnlyWhatIsTrueForAllWhoUseIt) {
  const std::string shared = R"(version: 1
groups:
  build:
    - host: a.example.com
    - host: b.example.com
    - host: b.example.com
agents:
  coder-1:
    use: [group:build]
    allow:
      - host: a.example.com
  coder-2:
    use: [group:build]
)";
  EXPECT_EQ(warnings(text_of(shared)),
            (Lines{"6: this rule changes nothing: policy.yaml:5 says the same of 'b.example.com' "
                   "(remove it)",
                   "11: this rule changes nothing: policy.yaml:4 says the same of 'a.example.com' "
                   "(remove it)"}));
}

TEST(Warnings, NameHostsWhereStrangersReadAndFrontEndsTheyShare) {
  EXPECT_EQ(
      warnings(coder(R"(    allow:
      - {host: gist.github.com, ports: [443]}
      - host: "*.github.com"
      - host: dns.google
      - host: cloudflare-ech.com
      - {host: crypto.cloudflare.com, ech: deny}
      - host: d111.cloudfront.net
      - {host: "*.github.io", public_suffix: true}
      - host: "*.windows.net"
      - host: host.docker.internal
      - any: true
        ports: [22]
    deny:
      - host: lfs.github.com
)")),
      (Lines{
          "5: strangers can read what is uploaded to 'gist.github.com' (code snippets) (keep it "
          "only if what the agent can read may be published there)",
          "6: strangers can read what is uploaded to 'gist.github.com' (code snippets), and to 2 "
          "more (name the hosts you need, or add to 'deny': - host: \"gist.github.com\")",
          "7: 'dns.google' answers DNS over HTTPS (Google), which carries data out in questions "
          "(remove it: sluice answers the agent's DNS itself)",
          "8: 'cloudflare-ech.com' is a public name of Encrypted ClientHello (Cloudflare): as SNI "
          "it stands for any customer (remove it, or write ech: deny)",
          "10: 'd111.cloudfront.net' shares its front end with strangers (Amazon CloudFront): "
          "without inspection another tenant behind it is not excluded (prefer a host name of the "
          "owner's own, where there is one)",
          "11: strangers can register names below 'github.io', and '*.github.io' allows them all "
          "(name the domain you trust: *.example.github.io)",
          "12: '*.windows.net' is more than one owner's: Microsoft Azure (name the hosts you "
          "need)",
          "12: strangers can read what is uploaded to '*.blob.core.windows.net' (object store) "
          "(name the hosts you need, or add to 'deny': - host: \"*.blob.core.windows.net\")",
          "13: 'host.docker.internal' is the machine itself (Docker) (to open one of its ports "
          "write cidr: 127.0.0.1/32 with that port)",
          "14: 'any: true' allows every host there is (list hosts; to find out which, run in "
          "report mode and ask 'sluice policy suggest')",
      }));
}

TEST(Warnings, AreNotGivenOfHostsThatAreDeniedBesideTheRule) {
  EXPECT_EQ(warnings(text_of(R"(version: 1
never:
  - host: gist.github.com
agents:
  coder-1:
    allow:
      - host: "*.github.com"
    deny:
      - host: api.github.com
      - host: uploads.github.com
      - host: lfs.github.com
)")),
            Lines{});
}

TEST(Warnings, NameReportModeAndEntriesThatDoWithoutAPatternsRules) {
  EXPECT_EQ(warnings(text_of(R"(version: 1
agents:
  "coder-*":
    mode: report
    allow:
      - host: a.example.com
      - host: b.example.com
  coder-1:
    allow:
      - host: a.example.com
  other:
    allow: []
)")),
            (Lines{"3: 'coder-*' is in report mode: what no rule lists is logged and not blocked "
                   "(write mode: enforce once 'sluice policy replay' shows nothing you would miss)",
                   "8: 'coder-1' does without 1 rule of 'coder-*' (policy.yaml:3): entries replace "
                   "each other, they never merge (put what both need into a group, and 'use' it in "
                   "both)"}));
}

TEST(Warnings, NameRulesThatNoDecisionOfALogNames) {
  const PolicyText text = coder(R"(    use: [preset:gitlab]
    allow:
      - host: a.example.com
      - host: b.example.com
      - cidr: 10.0.0.0/8
    deny:
      - host: c.example.com
)");
  const auto found = unused_rules(text, {"policy.yaml:6"});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(to_string(found.front()),
            "policy.yaml:7:0: error: no decision in the log names 'b.example.com'\n"
            "hint: remove the rule, if the log is of this policy and long enough");
}

TEST(LooseRegexes, AreToldByTheDotOrByTheNameTheyFit) {
  struct Case {
    const char* regex;
    const char* what;  // "" for none
  };
  const Case cases[] = {
      {"build-[0-9]+\\.ci\\.example\\.com", ""},
      {"(.*\\.)?example\\.com", ""},
      {".*\\.example\\.com", ""},
      {"(a|b)\\.example\\.com", ""},
      {"[a-z.]+\\.internal", ""},
      {"api.example\\.com", "a '.' in 'api.example' fits any character"},
      {"api\\.example.com", "a '.' in 'example.com' fits any character"},
      {".*example\\.com",
       "'.*example\\.com' fits 'sluice-probeexample.com', which a stranger can register"},
      {".*", "'.*' fits 'sluice-probe.com', which a stranger can register"},
      {"[a-z.]*", "'[a-z.]*' fits 'sluiceprobe.com', which a stranger can register"},
      {"api\\..*", "'api\\..*' fits 'api.net', which a stranger can register"},
      {"api\\.[a-z]+\\.com",
       "'api\\.[a-z]+\\.com' fits 'api.sluiceprobe.com', which a stranger can "
       "register"},
      {"api[0-9]\\.com", "'api[0-9]\\.com' fits 'api7.com', which a stranger can register"},
      {"example\\.[^x]{2,3}",
       "'example\\.[^x]{2,3}' fits 'example.net', which a stranger can "
       "register"},
      {"[a-z]+\\.github\\.io",
       "'[a-z]+\\.github\\.io' fits 'sluiceprobe.github.io', which a "
       "stranger can register"},
  };
  for (const Case& one : cases) {
    const auto found = loose_regex(one.regex);
    EXPECT_EQ(found ? found->what : "", one.what) << one.regex;
  }
  for (const char* odd : {"[", "[]a]\\.b", "\\", "(?i", "a{2", "[[:alpha:]", "[^]]*", "(", "a."}) {
    loose_regex(odd);  // ends
  }
}

TEST(KnownHosts, AreCanonicalNamesAndOfAKindOnce) {
  std::set<std::pair<std::string_view, HostKind>> seen;
  for (const KnownHost& host : known_hosts()) {
    const auto parsed = Host::parse(host.name());
    ASSERT_TRUE(parsed && parsed->is_name()) << host.pattern;
    EXPECT_EQ(parsed->name(), host.name());
    EXPECT_FALSE(host.what.empty()) << host.pattern;
    EXPECT_TRUE(seen.emplace(host.pattern, host.kind).second) << host.pattern;
  }
}

// `text` without some of its rules.
PolicyText without(const PolicyText& text, const std::set<std::uint32_t>& ids) {
  PolicyText left = text;
  const auto gone = [&](const Rule& rule) { return ids.contains(rule.id); };
  std::erase_if(left.never, gone);
  for (AgentEntry& entry : left.agents) std::erase_if(entry.rules, gone);
  return left;
}

std::string told(const Decision& decision) {
  std::string text =
      fmt::format("{} {}", verdict_name(decision.verdict), reason_name(decision.reason));
  if (decision.would_deny) text += fmt::format(" {}", reason_name(*decision.would_deny));
  if (!decision) return text;
  return text + fmt::format(" {} {}", static_cast<int>(decision.tls), decision.refuse_ech);
}

TEST(ShadowedRules, CanBeRemovedTogetherAndNothingChanges) {
  PolicyGenerator generator(8);
  std::size_t removed = 0;
  for (int round = 0; round < 400; ++round) {
    const std::string yaml = generator.policy();
    const PolicyText text = text_of(yaml);
    std::set<std::uint32_t> ids;
    std::set<std::uint32_t> allow_nothing;
    for (const Shadowed& one : shadowed_rules(text)) {
      const bool allow = one.rule->effect == Effect::allow;
      if (one.removable) ids.insert(one.rule->id);
      if (!one.removable && allow) allow_nothing.insert(one.rule->id);
      ASSERT_NE(one.by, nullptr);
      ASSERT_NE(one.by->id, one.rule->id);
    }
    removed += ids.size();
    const auto before = compile(text);
    const auto after = compile(without(text, ids));
    for (int i = 0; i < 60; ++i) {
      const Target target = generator.target();
      const std::string agent = fmt::format("coder-{}", generator.below(3));
      const Decision decision = before->for_agent(agent).decide(target);
      ASSERT_EQ(told(decision), told(after->for_agent(agent).decide(target)))
          << agent << ' ' << target.to_string() << '\n'
          << yaml;
      for (const std::uint32_t id : allow_nothing) {
        ASSERT_FALSE(decision.verdict == Verdict::allow && decision.rule == text.places[id])
            << target.to_string() << '\n'
            << yaml;
      }
      if (target.host.is_name()) continue;
      const Target name{*Host::parse("name.test"), target.port};
      for (const Target& asked : {target, name}) {
        const auto judge = [&](const Policy& policy) {
          return told(policy.for_agent(agent).judge_address(asked, target.host.address(),
                                                            OnThisMachine::no));
        };
        ASSERT_EQ(judge(*before), judge(*after))
            << asked.to_string() << " at " << target.to_string() << '\n'
            << yaml;
      }
    }
  }
  EXPECT_GT(removed, 300U);
}

// Seconds of CPU for rules of every kind of crowd: apart, below one name, all of one host.
double seconds_for(int count) {
  PolicyText text;
  text.agents.push_back({"coder-1", Mode::enforce, {}, "policy.yaml:3"});
  const auto add = [&text](Scope scope, std::string name, std::uint16_t port) {
    const auto id = text.places.add("policy.yaml", static_cast<int>(text.places.size()) + 5);
    text.agents.front().rules.push_back(
        {.scope = scope, .name = std::move(name), .ports = {port}, .id = id});
  };
  for (int i = 0; i < count; ++i) {
    const auto port = static_cast<std::uint16_t>(i + 1);
    add(Scope::exact, fmt::format("h{}.example.com", i), 443);
    add(Scope::below, "example.com", port);
    add(Scope::exact, "one.example.net", port);
  }
  const std::clock_t begin = std::clock();
  EXPECT_EQ(warnings_of(text).size(), 0U);
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

TEST(Warnings, TakeTimeInProportionToTheRules) {
  const double few = seconds_for(2000);
  const double many = seconds_for(8000);  // four times as many; sixteen if it were quadratic
  EXPECT_LT(many, 9 * few + 0.05);
}

}  // namespace
}  // namespace sluice::allowlists
