// host_regex: RE2, the whole name, below exact and suffix rules, above any.
#include "allowlists/regex_index.h"
#include "policies.h"

namespace sluice::allowlists {
namespace {

TEST(HostRegex, FitsTheWholeNameWhateverItsCase) {
  const auto policy = policy_of(coder(R"(    allow:
      - host_regex: "Build-[0-9]+\\.ci\\.example"
      - host_regex: "x|y\\.example"
        ports: [8443]
)"));
  expect_decisions(*policy, {{"build-7.ci.example", "allow listed allow.yaml:5"},
                             {"BUILD-7.CI.example.", "allow listed allow.yaml:5"},
                             {"build-7.ci.example:22", "deny port_not_allowed allow.yaml:5"},
                             {"build-.ci.example", "deny not_listed default"},
                             {"a.build-7.ci.example", "deny not_listed default"},
                             {"build-7.ci.example.com", "deny not_listed default"},
                             {"x:8443", "allow listed allow.yaml:6"},
                             {"xy.example:8443", "deny not_listed default"}});
}

TEST(HostRegex, StandsBetweenSuffixesAndAny) {
  const auto policy = policy_of(coder(R"(    allow:
      - any: true
      - host: a.example.com
      - host: "*.net.example.com"
    deny:
      - host_regex: ".*example\\.com"
)"));
  expect_decisions(*policy, {{"a.example.com", "allow listed allow.yaml:6"},
                             {"b.net.example.com", "allow listed allow.yaml:7"},
                             {"b.example.com", "deny denied allow.yaml:9"},
                             {"example.org", "allow listed allow.yaml:5"}});
}

TEST(HostRegexes, ThatFitOneNameAreOneLevelWithTheirPortsUnited) {
  const auto policy = policy_of(coder(R"(    allow:
      - host_regex: "a.*"
        ports: [22]
        tls: "off"
      - host_regex: ".*b"
      - host_regex: "a.*b"
        ports: [22, 443]
        tls: match
    deny:
      - host_regex: "ab"
        ports: [80]
)"));
  expect_decisions(*policy, {{"a:22", "allow listed allow.yaml:5"},
                             {"a:443", "deny port_not_allowed allow.yaml:5"},
                             {"ab:22", "allow listed allow.yaml:5"},
                             {"ab:443", "allow listed allow.yaml:8"},
                             {"ab:80", "deny denied allow.yaml:13"},
                             {"ab:81", "deny port_not_allowed allow.yaml:5"}});
  const AgentRules& rules = policy->for_agent("coder-1");
  EXPECT_EQ(rules.decide(target("a:22")).tls, TlsMode::off);
  EXPECT_EQ(rules.decide(target("ab:22")).tls, TlsMode::match);
  EXPECT_EQ(rules.decide(target("ab:443")).tls, TlsMode::require);
}

TEST(HostRegex, UnderNeverIsTheFloor) {
  const auto policy = policy_of(
      "version: 1\nnever:\n  - host_regex: \".*secret.*\"\n"
      "agents:\n  coder-1: {mode: report, allow: [{host: secret.example.com}]}\n");
  expect_decisions(*policy, {{"secret.example.com", "deny never allow.yaml:3"},
                             {"my-secrets.example:22", "deny never allow.yaml:3"},
                             {"other.example.com", "report reported default"}});
}

TEST(HostRegex, MatchesNoLiteralAddress) {
  const auto policy = policy_of(coder("    allow:\n      - host_regex: \".*\"\n"));
  expect_decisions(*policy, {{"192.0.1.1", "deny not_listed default"},
                             {"10.0.0.1", "deny address_private default"},
                             {"host.sluice.internal", "deny address_private default"}});
}

TEST(HostRegex, OpensDnsForNamesItFits) {
  const auto policy = policy_of(coder(R"(    allow:
      - host_regex: "a.*"
        ports: [22]
      - host: "*.example.com"
        ports: [99]
    deny:
      - host_regex: "ab.*"
)"));
  const AgentRules& rules = policy->for_agent("coder-1");
  const auto any_port = [&](std::string_view name) {
    return summary(rules.decide_any_port(*Host::parse(name)));
  };
  EXPECT_EQ(any_port("ac"), "allow listed allow.yaml:5");
  EXPECT_EQ(any_port("abc"), "deny denied allow.yaml:10");
  EXPECT_EQ(any_port("ab.example.com"), "allow listed allow.yaml:7");
  EXPECT_EQ(any_port("c"), "deny not_listed default");
}

TEST(HostRegex, IsRefusedWithASentenceWhenItIsNone) {
  const std::string repeated(longest_regex + 1, 'a');
  struct Case {
    std::string rule;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {R"(host_regex: "a(")",
       "allow.yaml:5:9: error: 'a(' is no regex: missing ): a(\n"
       "hint: see RE2's syntax; it has no look-around and no back-references\n"},
      {R"(host_regex: "(?=a)b")",
       "allow.yaml:5:9: error: '(?=a)b' is no regex: invalid perl operator: (?=\n"
       "hint: see RE2's syntax; it has no look-around and no back-references\n"},
      {R"(host_regex: "((a{100}){100}){100}")",
       "allow.yaml:5:9: error: '((a{100}){100}){100}' is no regex: invalid repetition size: {100}\n"
       "hint: see RE2's syntax; it has no look-around and no back-references\n"},
      {R"(host_regex: "(ab{1000}){1}(cd{999}){9}")",
       "allow.yaml:5:9: error: '(ab{1000}){1}(cd{999}){9}' is no regex: "
       "invalid repetition size: {9}\n"
       "hint: see RE2's syntax; it has no look-around and no back-references\n"},
      {R"(host_regex: "[a-z]{1000}[b-y]{1000}[c-x]{1000}[d-w]{1000}[e-v]{1000}[f-u]{1000}")",
       "allow.yaml:5:9: error: '[a-z]{1000}[b-y]{1000}[c-x]{1000}[d-w]{1000}[e-v]{1000}[f-u]{1000}'"
       " is too large a regex once its repetitions are written out\n"
       "hint: write smaller repetitions, or several rules\n"},
      {"host_regex: \"b\xc3\xbc"
       "cher\"",
       "allow.yaml:5:9: error: 'b\xc3\xbc"
       "cher' fits no name: names are ASCII here\n"
       "hint: write the A-label of an international name: xn--...\n"},
      {R"x(host_regex: "a|(?s-i:B\\.example)")x",
       "allow.yaml:5:9: error: 'a|(?s-i:B\\\\.example)' makes letter case count, and no name has "
       "capitals\nhint: remove the flag -i\n"},
      {R"(host_regex: "")",
       "allow.yaml:5:9: error: '' is no regex\n"
       "hint: write an RE2 regex for the whole name: \"build-[0-9]+\\\\.example\\\\.com\"\n"},
      {"host_regex: " + repeated,
       "allow.yaml:5:9: error: '" + repeated.substr(0, 80) +
           "...' is longer than 1000 bytes\n"
           "hint: write an RE2 regex for the whole name: \"build-[0-9]+\\\\.example\\\\.com\"\n"},
      {"{host_regex: a, host: b}",
       "allow.yaml:5:9: error: a rule with more than one of 'host', 'host_regex', 'cidr' and "
       "'any'\n"
       "hint: make a rule of each of them\n"},
      {"{host_regex: a, public_suffix: true}",
       "allow.yaml:5:25: error: 'public_suffix' has a meaning only beside 'host'\n"
       "hint: remove it\n"},
  };
  for (const auto& [rule, expected] : cases) EXPECT_EQ(errors_of_rule(rule), expected) << rule;
  for (const char* fine : {"(?i)a", "(?i-s)a", "a(?:-i)b", "(?P<i>a-i)", "\\(?-i"}) {
    EXPECT_EQ(errors_of_rule(std::string("host_regex: '") + fine + '\''), "") << fine;
  }
}

TEST(HostRegexes, OfOneAgentAreBoundedTogether) {
  std::string lines = "    allow:\n";
  for (int i = 0; i < 20; ++i) {
    lines += "      - host_regex: \"x" + std::to_string(i) + "[a-z]{900}[a-z]{900}[a-z]{900}\"\n";
  }
  EXPECT_EQ(errors_of(coder(lines)),
            "allow.yaml:3:3: error: the regexes of agent 'coder-1' are too large together\n"
            "hint: use host: \"*.example.com\" where it says the same\n");
}

TEST(HostRegexes, UnderNeverAreBoundedTogether) {
  std::string lines = "version: 1\nnever:\n";
  for (int i = 0; i < 20; ++i) {
    lines += "  - host_regex: \"x" + std::to_string(i) + "[a-z]{900}[a-z]{900}[a-z]{900}\"\n";
  }
  EXPECT_EQ(errors_of(lines),
            "allow.yaml:2:1: error: the regexes under 'never' are too large together\n"
            "hint: use host: \"*.example.com\" where it says the same\n");
}

TEST(HostRegexes, OfAWholePolicyAreReadOnlyAsFarAsTheyAreBounded) {
  // 300 of them have more than a million instructions; the rest would take minutes.
  std::string lines = "version: 1\ngroups:\n  one:\n";
  for (int i = 0; i < 20'000; ++i) {
    lines +=
        "    - host_regex: \"x" + std::to_string(i) + "[a-z]{950}[a-z]{950}[a-z]{950}x{950}\"\n";
  }
  lines += "agents:\n  coder-1:\n    use: [group:one]\n";
  const std::string errors = errors_of(lines);
  EXPECT_THAT(errors, testing::HasSubstr(
                          "error: the regexes of the policy are too large together: from this one "
                          "on they were not read\n"
                          "hint: use host: \"*.example.com\" where it says the same\n"));
  EXPECT_EQ(errors.find("not read"), errors.rfind("not read"));
}

TEST(HostRegex, AnswersTheSameWhenItsAutomatonDoesNotFitIntoMemory) {
  // A deterministic automaton for this has 2^20 states for each letter; names that differ visit
  // ever new ones. From too little to compile to too little to run.
  std::vector<Rule> rules;
  for (char c = 'a'; c < 'g'; ++c) {
    Rule rule;
    rule.effect = Effect::deny;
    rule.scope = Scope::regex;
    rule.name = std::string(".*") + c + ".{20}";
    rule.id = static_cast<std::uint32_t>(c - 'a');
    rules.push_back(std::move(rule));
  }
  for (const std::int64_t memory :
       {1 << 12, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 20, 1 << 26}) {
    const RegexIndex index(rules, memory);
    std::uint32_t state = 1;
    for (int i = 0; i < 300; ++i) {
      std::string name;
      for (int at = 0; at < 63; ++at) {
        state = state * 1664525 + 1013904223;
        name += static_cast<char>('a' + (state >> 24) % 12);
      }
      const char decider = name[name.size() - 21];
      const Outcome outcome = index.find(name, 443);
      ASSERT_EQ(outcome.kind == Outcome::Kind::deny, decider < 'g') << memory << ' ' << name;
      if (decider >= 'g') continue;
      ASSERT_EQ(outcome.rule, static_cast<std::uint32_t>(decider - 'a'));
    }
  }
}

}  // namespace
}  // namespace sluice::allowlists
