#include "allowlists/policy.h"

#include <string>
#include <vector>

#include "allocations.h"
#include "policies.h"

namespace sluice::allowlists {
namespace {

TEST(Policy, MatchesThePatternsOfTheTable) {
  const std::vector<std::pair<std::string, std::string>> table = {
      // api.example.com, example.com, a.b.example.com, notexample.com
      {"example.com", "no yes no no "},
      {"*.example.com", "yes no yes no "},
      {".example.com", "yes yes yes no "},
  };
  for (const auto& [pattern, expected] : table) {
    const auto policy = policy_of(coder("    allow: [{host: \"" + pattern + "\"}]\n"));
    std::string row;
    for (const char* host :
         {"api.example.com", "example.com", "a.b.example.com", "notexample.com"}) {
      row += policy->for_agent("coder-1").decide(target(host)) ? "yes " : "no ";
    }
    EXPECT_EQ(row, expected) << pattern;
  }
}

TEST(Policy, AllowMeans80And443AndDenyEveryPortUnlessTheySay) {
  const auto policy =
      policy_of(coder("    allow:\n"                                   // 4
                      "      - host: a.test\n"                         // 5
                      "      - {host: b.test, ports: [22, 8443]}\n"    // 6
                      "      - host: \"*.c.test\"\n"                   // 7
                      "    deny:\n"                                    // 8
                      "      - host: x.c.test\n"                       // 9
                      "      - {host: y.c.test, ports: [80, 25]}\n"))  // 10
      ;
  expect_decisions(*policy, {{"a.test:80", "allow listed allow.yaml:5"},
                             {"a.test:443", "allow listed allow.yaml:5"},
                             {"a.test:22", "deny port_not_allowed allow.yaml:5"},
                             {"b.test:22", "allow listed allow.yaml:6"},
                             {"b.test:443", "deny port_not_allowed allow.yaml:6"},
                             {"c.test:443", "deny not_listed default"},
                             {"x.c.test:443", "deny denied allow.yaml:9"},
                             {"x.c.test:9999", "deny denied allow.yaml:9"},
                             {"a.x.c.test:443", "allow listed allow.yaml:7"},
                             {"y.c.test:80", "deny denied allow.yaml:10"},
                             {"y.c.test:25", "deny denied allow.yaml:10"},
                             {"y.c.test:22", "deny port_not_allowed allow.yaml:7"},
                             {"y.c.test:443", "allow listed allow.yaml:7"},
                             {"d.test:443", "deny not_listed default"}});
}

TEST(Policy, TheMostSpecificMatchDecides) {
  const auto policy =
      policy_of(coder("    allow:\n"                                          // 4
                      "      - any: true\n"                                   // 5
                      "      - host: wiki.corp.example.com\n"                 // 6
                      "      - {host: .x.corp.example.com, ports: [8443]}\n"  // 7
                      "    deny:\n"                                           // 8
                      "      - host: \"*.corp.example.com\"\n"));             // 9
  expect_decisions(*policy, {{"elsewhere.test", "allow listed allow.yaml:5"},
                             {"elsewhere.test:22", "deny port_not_allowed allow.yaml:5"},
                             {"corp.example.com", "allow listed allow.yaml:5"},
                             {"mail.corp.example.com", "deny denied allow.yaml:9"},
                             {"wiki.corp.example.com", "allow listed allow.yaml:6"},
                             {"a.wiki.corp.example.com", "deny denied allow.yaml:9"},
                             {"x.corp.example.com:8443", "allow listed allow.yaml:7"},
                             {"a.x.corp.example.com:8443", "allow listed allow.yaml:7"},
                             // its own level says 8443, and wider levels are not asked
                             {"a.x.corp.example.com:443", "deny port_not_allowed allow.yaml:7"}});
}

TEST(Policy, DenyWinsWithinALevelAndPortsAreUnited) {
  const auto policy =
      policy_of(coder("    deny:\n"                                    // 4
                      "      - {host: a.test, ports: [22]}\n"          // 5
                      "      - host: .b.test\n"                        // 6
                      "    allow:\n"                                   // 7
                      "      - {host: a.test, ports: [22, 443]}\n"     // 8
                      "      - {host: A.test., ports: [8443, 443]}\n"  // 9
                      "      - host: \"*.b.test\"\n"));                // 10
  expect_decisions(*policy, {{"a.test:22", "deny denied allow.yaml:5"},
                             {"a.test:443", "allow listed allow.yaml:8"},
                             {"a.test:8443", "allow listed allow.yaml:9"},
                             {"a.test:80", "deny port_not_allowed allow.yaml:5"},
                             {"x.b.test", "deny denied allow.yaml:6"},
                             {"b.test", "deny denied allow.yaml:6"}});
}

TEST(Policy, SaysWhyTheOperatorDenies) {
  const auto policy = policy_of(
      "version: 1\nnever: [{host: a.test, why: through the jump host}]\n"
      "agents: {coder-1: {allow: [{any: true, why: unused}], deny: [{host: b.test, why: "
      "spam}]}}\n");
  const AgentRules& rules = policy->for_agent("coder-1");
  EXPECT_EQ(rules.decide(target("a.test")).why, "through the jump host");
  EXPECT_EQ(rules.decide(target("b.test")).why, "spam");
  EXPECT_EQ(rules.decide(target("c.test")).why, "");
}

TEST(Policy, NeverComesFirst) {
  const auto policy = policy_of(
      "version: 1\n"
      "never:\n"
      "  - {host: \"*.corp.example.com\", why: through the jump host}\n"  // 3
      "  - {any: true, ports: [25]}\n"                                    // 4
      "  - cidr: 10.9.0.0/16\n"                                           // 5
      "agents:\n"
      "  coder-1:\n"
      "    allow:\n"
      "      - host: wiki.corp.example.com\n"            // 9
      "      - {any: true, ports: [25, 443]}\n"          // 10
      "      - {cidr: 10.9.9.9, ports: [443]}\n"         // 11
      "      - {cidr: 10.8.0.0/16, ports: [25, 443]}\n"  // 12
      "      - {cidr: 64:ff9b::/96, ports: [443]}\n");   // 13
  expect_decisions(*policy, {{"wiki.corp.example.com", "deny never allow.yaml:3"},
                             {"wiki.corp.example.com:1", "deny never allow.yaml:3"},
                             {"a.test:25", "deny never allow.yaml:4"},
                             {"a.test:443", "allow listed allow.yaml:10"},
                             {"10.9.9.9:443", "deny never allow.yaml:5"},
                             {"10.8.0.1:25", "deny never allow.yaml:4"},
                             {"10.8.0.1:443", "allow listed_cidr allow.yaml:12"},
                             {"[64:ff9b::10.9.0.1]:443", "deny never allow.yaml:5"}});
  EXPECT_EQ(judged(*policy, "10.9.9.9", 443), "deny never allow.yaml:5");
  EXPECT_EQ(judged(*policy, "1.1.1.1", 25), "deny never allow.yaml:4");
  EXPECT_EQ(judged(*policy, "1.1.1.1", 443), "allow listed default");
}

TEST(Policy, ADenyOrNeverRuleWhosePortsDoNotMatchIsNoMatch) {
  const auto policy = policy_of(
      "version: 1\n"
      "never: [{host: a.test, ports: [22]}]\n"  // 2
      "agents:\n"
      "  coder-1:\n"
      "    allow: [{host: .test, public_suffix: true}, {cidr: 10.0.0.0/8}]\n"  // 5
      "    deny:\n"
      "      - {host: b.test, ports: [22]}\n"         // 7
      "      - {cidr: 10.1.0.0/16, ports: [22]}\n");  // 8
  expect_decisions(*policy, {{"a.test:22", "deny never allow.yaml:2"},
                             {"a.test:443", "allow listed allow.yaml:5"},
                             {"b.test:22", "deny denied allow.yaml:7"},
                             {"b.test:443", "allow listed allow.yaml:5"},
                             {"b.test:25", "deny port_not_allowed allow.yaml:5"},
                             {"10.1.0.1:22", "deny denied allow.yaml:8"},
                             {"10.1.0.1:443", "allow listed_cidr allow.yaml:5"}});
}

TEST(Policy, TheStricterTlsOfALevelWins) {
  const auto policy =
      policy_of(coder("    allow:\n"                                                    // 4
                      "      - {host: a.test, ports: [443, 22], tls: \"off\"}\n"        // 5
                      "      - {host: b.test, ports: [443, 8443, 22]}\n"                // 6
                      "      - {host: b.test, ports: [22], tls: require, ech: deny}\n"  // 7
                      "      - {host: b.test, ports: [22], tls: \"off\"}\n"             // 8
                      "      - {host: c.test, tls: match}\n"                            // 9
                      "      - {cidr: 10.0.0.0/8, ports: [22], tls: \"off\"}\n"         // 10
                      "      - any: true\n"));                                          // 11
  const auto tls = [&](std::string_view where) {
    const Decision decision = policy->for_agent("coder-1").decide(target(where));
    EXPECT_TRUE(decision) << where;
    constexpr std::array<std::string_view, 3> names = {"require ", "match ", "off "};
    return std::string(names[static_cast<std::size_t>(decision.tls)]) +
           (decision.refuse_ech ? "ech-refused " : "") + std::string(decision.rule);
  };
  EXPECT_EQ(tls("a.test:443"), "off allow.yaml:5");
  EXPECT_EQ(tls("a.test:22"), "off allow.yaml:5");
  EXPECT_EQ(tls("b.test:443"), "require allow.yaml:6");
  EXPECT_EQ(tls("b.test:8443"), "match allow.yaml:6");
  EXPECT_EQ(tls("b.test:22"), "require ech-refused allow.yaml:6");
  EXPECT_EQ(tls("c.test:443"), "match allow.yaml:9");
  EXPECT_EQ(tls("10.0.0.1:22"), "off allow.yaml:10");
  EXPECT_EQ(tls("d.test:443"), "require allow.yaml:11");
  EXPECT_EQ(tls("d.test:80"), "match allow.yaml:11");
}

TEST(Policy, AnswersDnsForNamesAllowedOnSomePort) {
  const auto policy = policy_of(
      "version: 1\n"
      "never: [{host: n.test, ports: [22]}, {host: m.test, ports: [22]}]\n"
      "agents:\n"
      "  coder-1:\n"
      "    allow:\n"                                  // 5
      "      - {host: a.test, ports: [2222]}\n"       // 6
      "      - {host: n.test, ports: [22, 23]}\n"     // 7
      "      - {host: m.test, ports: [22]}\n"         // 8
      "      - {host: \"*.b.test\"}\n"                // 9
      "      - {cidr: 127.0.0.1, ports: [11434]}\n"   // 10
      "    deny:\n"                                   // 11
      "      - {host: x.b.test}\n"                    // 12
      "      - {host: y.b.test, ports: [80, 443]}\n"  // 13
      "      - {host: z.b.test, ports: [80]}\n"       // 14
      "      - {host: q.test, ports: [80]}\n");       // 15
  const std::vector<Case> cases = {{"a.test", "allow listed allow.yaml:6"},
                                   {"n.test", "allow listed allow.yaml:7"},
                                   {"m.test", "deny never allow.yaml:2"},
                                   {"c.b.test", "allow listed allow.yaml:9"},
                                   {"x.b.test", "deny denied allow.yaml:12"},
                                   {"y.b.test", "deny denied allow.yaml:13"},
                                   {"z.b.test", "allow listed allow.yaml:9"},
                                   {"q.test", "deny not_listed default"},
                                   {"unknown.test", "deny not_listed default"},
                                   {"127.0.0.1", "allow listed_cidr allow.yaml:10"},
                                   {"10.0.0.1", "deny address_private default"},
                                   {"169.254.169.254", "deny address_forbidden default"},
                                   {"host.sluice.internal", "allow listed_cidr allow.yaml:10"}};
  for (const auto& [name, expected] : cases) {
    EXPECT_EQ(summary(policy->for_agent("coder-1").decide_any_port(*Host::parse(name))), expected)
        << name;
  }
}

TEST(Policy, ADecisionAllocatesNothing) {
  const auto policy = policy_of(
      coder("    allow:\n      - any: true\n      - host: .example.com\n      - cidr: 10.0.0.0/8\n"
            "      - cidr: 2001:db8::/32\n      - {cidr: 127.0.0.1, ports: [1]}\n"
            "    deny:\n      - host: a.example.com\n"));
  const std::vector<Target> targets = {
      target("a.example.com"),         target("deep.down.b.example.com:22"), target("10.0.0.1"),
      target("[2001:db8::1]:443"),     target("[::ffff:10.0.0.1]:443"),      target("nowhere.test"),
      target("host.sluice.internal:1")};
  const std::size_t before = allocations();
  for (const Target& one : targets) {
    const AgentRules& rules = policy->for_agent("coder-1");
    rules.decide(one);
    rules.decide_any_port(one.host);
    if (!one.host.is_name()) rules.judge_address(one, one.host.address(), OnThisMachine::no);
    policy->for_agent("another-agent-with-a-long-name").decide(one);
  }
  EXPECT_EQ(allocations(), before);
}

TEST(Policy, ANameOf127LabelsIsJudgedLikeAnyOther) {
  std::string name = "a.test";
  while (name.size() + 2 <= 253) name = "a." + name;
  const auto policy =
      policy_of(coder("    allow: [{host: \"*.a.test\"}, {host: \"" + name + "\"}]\n"));
  EXPECT_TRUE(policy->for_agent("coder-1").decide(target(name)));
  EXPECT_TRUE(policy->for_agent("coder-1").decide(target(name.substr(2))));
  EXPECT_FALSE(policy->for_agent("coder-1").decide(target("a.test")));
}

}  // namespace
}  // namespace sluice::allowlists
