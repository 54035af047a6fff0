#include "allowlists/tools/cases.h"

#include <gtest/gtest.h>

#include "generated_policies.h"

namespace sluice::allowlists {
namespace {

using namespace generated;

Result<Target> read_target(std::string_view text) {
  const auto parsed = Target::parse(text, 443);
  if (parsed) return *parsed;
  return fail(Errc::bad_config, fmt::format("'{}': {}", text, parsed.error().why));
}

// What is said about cases.yaml; "" when it can be read.
std::string errors_of(std::string text) {
  const auto read = read_cases({"cases.yaml", std::move(text)}, read_target);
  std::string all;
  if (read) return all;
  for (const Error& error : read.error()) all += to_string(error) + '\n';
  return all;
}

TEST(PolicyCases, AreListsOfTargetsOrOneTargetWithAllThatIsExpected) {
  const auto read = read_cases({"cases.yaml", R"(cases:
  - agent: coder-1
    allow: [api.example.com, "git.example.com:22"]
    deny:
      - gist.example.com
    report: [new.example.com]
  - agent: coder-2
    target: db.example.com:5432
    address: 10.0.0.1
    verdict: deny
    reason: address_private
    rule: default
)"},
                               read_target);
  ASSERT_TRUE(read) << to_string(read.error().front());
  std::vector<std::string> told;
  for (const PolicyCase& one : *read) {
    told.push_back(fmt::format("{}:{} {} {} {} {} {} {}", one.where.line, one.where.column,
                               one.agent, one.target.to_string(), verdict_name(one.verdict),
                               one.reason ? reason_name(*one.reason) : "-", one.rule.value_or("-"),
                               one.address ? one.address->to_string() : "-"));
  }
  EXPECT_EQ(told, (std::vector<std::string>{
                      "3:13 coder-1 api.example.com:443 allow - - -",
                      "3:30 coder-1 git.example.com:22 allow - - -",
                      "5:9 coder-1 gist.example.com:443 deny - - -",
                      "6:14 coder-1 new.example.com:443 report - - -",
                      "7:5 coder-2 db.example.com:5432 deny address_private default 10.0.0.1"}));
}

TEST(PolicyCases, AreRefusedAllAtOnceEachWithItsPlace) {
  EXPECT_EQ(errors_of(R"(cases:
  - alow: [a.test]
  - agent: "coder-*"
    allow: []
  - agent: coder-1
    deny: ["a.test:0", [b]]
  - agent: coder-1
    target: a.test
    allow: [b.test]
    reason: listd
  - agent: coder-1
    target: 192.0.2.1
    verdict: maybe
    address: 10.0.0.300
  - agent: coder-1
    rule: policy.yaml:3
  - coder-1
)"),
            R"(cases.yaml:2:5: error: unknown key 'alow'
hint: did you mean 'allow'?
cases.yaml:2:5: error: a case without 'agent'
hint: write agent: coder-1
cases.yaml:2:5: error: a case without a target
hint: add allow: [api.example.com], or target: and verdict:
cases.yaml:3:5: error: 'coder-*' is not an agent's name
hint: name one agent, without '*'
cases.yaml:4:5: error: 'allow' is empty
hint: list targets, or remove it
cases.yaml:6:12: error: 'a.test:0': the port is not a decimal number from 1 to 65535
hint: write a host (port 443), HOST:PORT in quotes, http://HOST/PATH or https://HOST/PATH
cases.yaml:6:24: error: a target is a list, not a text
hint: write a host (port 443), HOST:PORT in quotes, http://HOST/PATH or https://HOST/PATH
cases.yaml:7:5: error: a target without 'verdict'
hint: write verdict: allow, verdict: deny or verdict: report
cases.yaml:8:5: error: a case with 'target' and with a list of targets
hint: make a case of each of them
cases.yaml:10:5: error: unknown reason 'listd'
hint: did you mean 'listed'?
cases.yaml:13:5: error: unknown verdict 'maybe'
hint: write verdict: allow, verdict: deny or verdict: report
cases.yaml:14:5: error: '10.0.0.300' is no address
hint: write address: 10.0.0.1
cases.yaml:14:5: error: 'address' has a meaning only where the target is a name
hint: remove it
cases.yaml:15:5: error: a case without a target
hint: add allow: [api.example.com], or target: and verdict:
cases.yaml:16:5: error: 'rule' has a meaning only beside 'target'
hint: write target: HOST:PORT instead of a list
cases.yaml:17:5: error: a case is 'coder-1', not a mapping
hint: write - agent: coder-1
)");
}

TEST(PolicyCases, AreAMappingWithCasesInIt) {
  constexpr const char* begin = "hint: begin with 'cases:' and a list of cases below it\n";
  EXPECT_EQ(errors_of("\n "), std::string("cases.yaml:1:1: error: there are no cases\n") + begin);
  EXPECT_EQ(errors_of("# later\n"),
            std::string("cases.yaml:1:1: error: there are no cases\n") + begin);
  EXPECT_EQ(errors_of("- a\n"),
            std::string("cases.yaml:1:1: error: the file is a list, not a mapping\n") + begin);
  EXPECT_EQ(errors_of("{}\n"), std::string("cases.yaml:1:1: error: there are no cases\n") + begin);
  EXPECT_EQ(errors_of("cases: []\n"),
            "cases.yaml:1:1: error: 'cases' is empty\nhint: write - agent: coder-1\n");
  EXPECT_EQ(errors_of("cases:\n  a: b\n"),
            "cases.yaml:1:1: error: 'cases' is a mapping, not a list\n"
            "hint: write - agent: coder-1\n");
}

PolicyCase expected(Verdict verdict, std::optional<std::string> address) {
  PolicyCase one{
      .agent = "coder-1", .target = target_of("db.example.com:5432"), .verdict = verdict};
  if (address) one.address = IpAddress::parse(*address);
  return one;
}

TEST(PolicyCases, WithAnAddressAreJudgedAsADialIs) {
  const auto policy = compile(coder(R"(    allow:
      - {host: db.example.com, ports: [5432]}
      - {cidr: 10.1.0.0/16, ports: [5432]}
)"));
  struct Case {
    std::optional<std::string> address;
    Reason reason;
    const char* rule;
  };
  const std::vector<Case> cases = {
      {std::nullopt, Reason::listed, "policy.yaml:5"},
      {"203.0.114.1", Reason::listed, "policy.yaml:5"},
      {"10.1.0.1", Reason::listed, "policy.yaml:5"},
      {"10.2.0.1", Reason::address_private, "default"},
      {"169.254.169.254", Reason::address_forbidden, "default"},
  };
  for (const Case& one : cases) {
    const Decision decision = decide(*policy, expected(Verdict::allow, one.address));
    EXPECT_EQ(decision.reason, one.reason);
    EXPECT_EQ(decision.rule, one.rule);
    EXPECT_EQ(is_as_expected(expected(Verdict::allow, {}), decision), bool{decision});
  }
}

TEST(PolicyCases, CompareOnlyWhatTheySay) {
  const Decision decision{
      .verdict = Verdict::deny, .reason = Reason::denied, .rule = "policy.yaml:7"};
  PolicyCase one = expected(Verdict::deny, {});
  EXPECT_TRUE(is_as_expected(one, decision));
  one.reason = Reason::denied;
  one.rule = "policy.yaml:7";
  EXPECT_TRUE(is_as_expected(one, decision));
  one.rule = "policy.yaml:8";
  EXPECT_FALSE(is_as_expected(one, decision));
  one.rule.reset();
  one.reason = Reason::never;
  EXPECT_FALSE(is_as_expected(one, decision));
  one.reason.reset();
  one.verdict = Verdict::report;
  EXPECT_FALSE(is_as_expected(one, decision));
}

}  // namespace
}  // namespace sluice::allowlists
