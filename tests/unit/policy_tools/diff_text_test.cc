// What `sluice policy diff` prints, line by line.
#include <algorithm>
#include <chrono>

#include "diff_policies.h"

namespace sluice::allowlists {
namespace {

TEST(PolicyDiffText, SaysWhatOpensWhatClosesAndByWhichRule) {
  struct Case {
    std::string before;
    std::string after;
    std::string expected;
  };
  const std::string a = "      - host: a.example.com\n";
  const std::vector<Case> cases = {
      {a, a, "nothing changes\n"},
      {a, "      - host: A.example.com.\n        ports: [443, 80]\n", "nothing changes\n"},
      {"", a, "agent coder-1\n  + a.example.com ports 80, 443 (new.yaml:5)\n"},
      {a, "", "agent coder-1\n  - a.example.com ports 80, 443, was (old.yaml:5)\n"},
      {a, "      - {host: a.example.com, ports: [443, 22]}\n",
       "agent coder-1\n"
       "  + a.example.com port 22 (new.yaml:5), was port_not_allowed (old.yaml:5)\n"
       "  - a.example.com port 80, was (old.yaml:5), now port_not_allowed (new.yaml:5)\n"},
      {a, "      - {host: a.example.com, tls: \"off\"}\n",
       "agent coder-1\n"
       "  + a.example.com port 80 (new.yaml:5), tls off instead of match, was (old.yaml:5)\n"
       "  + a.example.com port 443 (new.yaml:5), tls off instead of require, was (old.yaml:5)\n"},
      {a, "      - {host: a.example.com, ech: deny}\n",
       "agent coder-1\n"
       "  ~ a.example.com ports 80, 443 (new.yaml:5), ech refused, was (old.yaml:5)\n"},
      {a, a + "      - host: \".example.com\"\n",
       "agent coder-1\n"
       "  + example.com ports 80, 443 (new.yaml:6)\n"
       "  + *.example.com (apart from a.example.com) ports 80, 443 (new.yaml:6)\n"},
      {a, a + "      - any: true\n",
       "agent coder-1\n  + any other name ports 80, 443 (new.yaml:6)\n"},
      {a, a + "      - host_regex: \"b[0-9]+\"\n        ports: [8443]\n",
       "agent coder-1\n  + /b[0-9]+/ port 8443 (new.yaml:6), by rule\n"},
      {"      - host_regex: \"b[0-9]+\"\n", a + "      - host_regex: \"b[0-9]+\"\n",
       "agent coder-1\n  + a.example.com ports 80, 443 (new.yaml:5)\n"},
      {"", "      - {cidr: 10.0.0.0/8, ports: [5432]}\n",
       "agent coder-1\n  + 10.0.0.0/8 port 5432 (new.yaml:5)\n"},
      {"", "      - {cidr: 203.0.112.0/24, ports: [22]}\n",
       "agent coder-1\n"
       "  + 203.0.112.0/24 port 22, asked for as an address (new.yaml:5)\n"},
      {"", "      - {cidr: 127.0.0.1/32, ports: [8080]}\n",
       "agent coder-1\n"
       "  + host.sluice.internal port 8080 (new.yaml:5)\n"
       "  + 127.0.0.1/32 port 8080 (new.yaml:5)\n"},
      {"      - {cidr: 10.0.0.0/8, ports: [1]}\n",
       "      - {cidr: 10.0.0.0/9, ports: [1]}\n      - {cidr: 10.128.0.0/10, ports: [1]}\n",
       "agent coder-1\n  - 10.192.0.0/10 port 1, was (old.yaml:5)\n"},
  };
  for (const auto& [before, after, expected] : cases) {
    EXPECT_EQ(told_of_allow(before, after), expected) << before << "---\n" << after;
  }
}

TEST(PolicyDiffText, TellsOfRulesThatDenyAndOfTheFloor) {
  const std::string any = "    allow: [{any: true, ports: [22, 443]}]\n";
  EXPECT_EQ(told(of_coder(any), of_coder(any + "    deny: [{host: \"*.x.test\", ports: [22]}]\n")),
            "agent coder-1\n"
            "  - *.x.test port 22, was (old.yaml:4), now denied (new.yaml:5)\n");
  EXPECT_EQ(told("version: 1\nnever: [{host: x.test}]\nagents: {c: {allow: [{any: true}]}}\n",
                 "version: 1\nagents: {c: {allow: [{any: true}]}}\n"),
            "agent c\n  + x.test ports 80, 443 (new.yaml:2), was never (old.yaml:2)\n");
  EXPECT_EQ(told("version: 1\nagents: {c: {allow: [{cidr: 10.0.0.0/8}]}}\n",
                 "version: 1\nnever: [{cidr: 10.1.0.0/16, ports: [80]}]\n"
                 "agents: {c: {allow: [{cidr: 10.0.0.0/8}]}}\n"),
            "agent c\n  - 10.1.0.0/16 port 80, was (old.yaml:2), now never (new.yaml:2)\n");
}

TEST(PolicyDiffText, TellsOfNamesThatARegexMatchesWhereSuffixRulesStopDeciding) {
  const std::string regex = "      - host_regex: \"b.*\"\n        ports: [22]\n";
  EXPECT_EQ(told_of_allow("      - host: \"*.x.test\"\n" + regex, regex),
            "agent coder-1\n"
            "  + *.x.test that a host_regex matches port 22 (new.yaml:5), was port_not_allowed "
            "(old.yaml:5), by rule\n"
            "  - *.x.test ports 80, 443, was (old.yaml:5)\n");
}

TEST(PolicyDiffText, NamesTheAgentsByThePairOfEntriesThatAnswersForThem) {
  const std::string a = "{allow: [{host: a.test}]}\n";
  const std::string b = "{allow: [{host: b.test}]}\n";
  const std::string head = "version: 1\nagents:\n";
  const std::string change =
      "  + b.test ports 80, 443 (new.yaml:3)\n"
      "  - a.test ports 80, 443, was (old.yaml:3)\n";
  EXPECT_EQ(told(head + "  \"c-*\": " + a, head + "  \"c-*\": " + b), "agents \"c-*\"\n" + change);
  EXPECT_EQ(told(head + "  \"c-*\": " + a, head + "  \"*\": " + b, "c-1"), "agent c-1\n" + change);
  EXPECT_EQ(told(head + "  \"c-*\": " + a, head + "  \"*\": " + b),
            "agents from no entry to \"*\" (such as a)\n"
            "  + b.test ports 80, 443 (new.yaml:3)\n"
            "\nagents from \"c-*\" to \"*\" (such as c-)\n" +
                change);
  EXPECT_EQ(told(head + "  c-1: " + a, head + "  c-1: " + b, "x"), "nothing changes\n");
  // No name is left for the pattern: the longer one takes all that fit it.
  EXPECT_EQ(told(head + "  \"c*\": " + a + "  \"c**\": " + a,
                 head + "  \"c*\": " + b + "  \"c**\": " + a),
            "nothing changes\n");
}

TEST(PolicyDiffText, GroupsAgentsForWhomTheSameLinesHold) {
  const std::string use = "agents:\n  a: {use: [group:g]}\n  b: {use: [group:g]}\n";
  EXPECT_EQ(told("version: 1\ngroups: {g: [{host: a.test}]}\n" + use,
                 "version: 1\ngroups: {g: [{host: b.test}]}\n" + use),
            "agents a, b\n"
            "  + b.test ports 80, 443 (new.yaml:2)\n"
            "  - a.test ports 80, 443, was (old.yaml:2)\n");
}

TEST(PolicyDiffText, SaysNothingOfNamesThatCannotExist) {
  const std::string label(63, 'x');
  const std::string longest = label + '.' + label + '.' + label + '.' + std::string(61, 'y');
  EXPECT_EQ(told_of_allow("", "      - host: \"*." + longest + "\"\n"), "nothing changes\n");
  EXPECT_NE(told_of_allow("", "      - host: \"*." + longest.substr(2) + "\"\n"),
            "nothing changes\n");
  EXPECT_NE(told_of_allow("", "      - host: \"" + longest + "\"\n"), "nothing changes\n");
}

TEST(PolicyDiffText, FollowsMappedAddressesAsTheirIpv4AddressesAreAnswered) {
  EXPECT_EQ(
      told(of_coder("    allow: [{cidr: \"::ffff:0:0/96\"}]\n    deny: [{cidr: 10.0.0.0/8}]\n"),
           of_coder("    allow: [{cidr: \"::ffff:0:0/96\"}, {cidr: 10.0.0.0/8}]\n")),
      "agent coder-1\n"
      "  + 10.0.0.0/8 ports 80, 443 (new.yaml:4), was denied (old.yaml:5)\n"
      "  + ::ffff:10.0.0.0/104 ports 80, 443 (new.yaml:4), was denied (old.yaml:5)\n");
}

TEST(PolicyDiffText, LeavesOutWhatNeverRefusesBeforeAndAfter) {
  const std::string never =
      "never:\n  - host: unlisted\n  - host: \".bad.example.com\"\n  - host: "
      "unlisted.example.com\n";
  const auto policy = [&](const std::string& rest, const std::string& rules) {
    return "version: 1\n" + never + rest + "agents:\n  coder-1:\n    allow:\n" + rules;
  };
  const std::string own = "      - host: a.example.org\n";
  EXPECT_EQ(told(policy("", own),
                 policy("  - host: new.example.net\n", own + "      - host: \"*.example.com\"\n"
                                                             "      - host: x.bad.example.com\n"
                                                             "      - any: true\n")),
            "agent coder-1\n"
            "  + *.example.com (apart from *.bad.example.com, bad.example.com, "
            "unlisted.example.com) ports 80, 443 (new.yaml:11)\n"
            "  + any other name ports 80, 443 (new.yaml:13)\n");
}

TEST(PolicyDiffText, IsThereInSecondsForThousandsOfNeverNamesAndOfAgents) {
  const auto policy = [](int version) {
    std::string text = "version: 1\nnever:\n";
    for (int i = 0; i < 9000; ++i) {
      text += "  - host: n" + std::to_string(i) + ".example.net\n";
    }
    if (version == 2) text += "  - host: one.example.org\n";
    text += "agents:\n";
    for (int i = 0; i < 1000; ++i) {
      const std::string number = std::to_string(i);
      text += "  coder-" + number + ":\n    allow: [{host: a" + number + ".v" +
              std::to_string(version) + ".example.com}]\n";
    }
    return text;
  };
  const auto begin = std::chrono::steady_clock::now();
  const std::string text = told(policy(1), policy(2));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
  EXPECT_EQ(std::count(text.begin(), text.end(), '+'), 1000);
}

TEST(PolicyDiffText, IsThereInSecondsForTenThousandRules) {
  const auto policy = [](int step) {
    std::string text = of_coder("    allow:\n");
    for (int i = 0; i < 10000; i += step) {
      const std::string n = std::to_string(i);
      text += i % 4 == 0   ? "      - host: \"*.n" + n + ".test\"\n"
              : i % 4 == 1 ? "      - {host: n" + n + ".test, ports: [" + n + "]}\n"
              : i % 4 == 2 ? "      - {cidr: 10." + std::to_string(i / 250) + '.' +
                                 std::to_string(i % 250) + ".0/24, ports: [1]}\n"
                           : "      - host: \".a.n" + n + ".test\"\n";
    }
    return text;
  };
  const PolicyText before = text_of("old.yaml", policy(1));
  const PolicyText after = text_of("new.yaml", policy(3));
  const auto start = std::chrono::steady_clock::now();
  const PolicyDiff difference = diff(before, after, std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  ASSERT_EQ(difference.agents.size(), 1U);
  EXPECT_FALSE(difference.opens());
}

}  // namespace
}  // namespace sluice::allowlists
