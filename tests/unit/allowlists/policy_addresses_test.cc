#include <string>
#include <vector>

#include "policies.h"

namespace sluice::allowlists {
namespace {

TEST(Policy, ALiteralTargetNeedsACidrRule) {
  const auto policy =
      policy_of(coder("    allow:\n"                                       // 4
                      "      - any: true\n"                                // 5
                      "      - {cidr: 10.0.0.0/8, ports: [5432]}\n"        // 6
                      "      - {cidr: 10.1.2.0/24, ports: [443, 5432]}\n"  // 7
                      "      - 'cidr': 1.1.1.0/24\n"                       // 8
                      "      - {cidr: 2001:db8::/32}\n"                    // 9
                      "      - {cidr: 169.254.0.0/16}\n"                   // 10
                      "      - {cidr: \"::ffff:0:0/96\"}\n"                // 11
                      "    deny:\n"                                        // 12
                      "      - {cidr: 10.1.0.0/16}\n"                      // 13
                      "      - {cidr: 1.1.1.7/32}\n"));                    // 14
  expect_decisions(*policy, {{"10.7.0.1:5432", "allow listed_cidr allow.yaml:6"},
                             {"10.7.0.1:443", "deny port_not_allowed allow.yaml:6"},
                             {"10.1.0.1:5432", "deny denied allow.yaml:13"},
                             {"10.1.2.3:443", "allow listed_cidr allow.yaml:7"},
                             {"1.1.1.1:443", "allow listed_cidr allow.yaml:8"},
                             {"1.1.1.7:443", "deny denied allow.yaml:14"},
                             {"1.1.2.1:443", "deny not_listed default"},
                             {"11.0.0.1:443", "deny not_listed default"},
                             {"192.168.0.1:443", "deny address_private default"},
                             {"127.0.0.1:443", "deny address_private default"},
                             {"[::1]:443", "deny address_private default"},
                             {"[2001:db8::1]:443", "allow listed_cidr allow.yaml:9"},
                             {"[2606:4700::1]:443", "deny not_listed default"},
                             {"169.254.169.254:80", "deny address_forbidden default"},
                             {"[::ffff:169.254.169.254]:80", "deny address_forbidden default"},
                             {"[::ffff:1.1.1.1]:443", "allow listed_cidr allow.yaml:11"},
                             // a rule for the wrapping opens no private address inside
                             {"[::ffff:127.0.0.1]:443", "deny address_private default"},
                             {"[::ffff:10.1.0.1]:443", "deny denied allow.yaml:13"},
                             {"[::ffff:10.1.2.3]:443", "allow listed_cidr allow.yaml:11"},
                             {"198.18.0.1:443", "deny address_forbidden default"},
                             {"0.0.0.0:443", "deny address_forbidden default"}});
}

TEST(Policy, DenyWinsAtEqualPrefixLength) {
  const auto policy =
      policy_of(coder("    allow: [{cidr: 10.0.0.0/8, ports: [443, 22]}]\n"
                      "    deny: [{cidr: 10.0.0.0/8, ports: [22]}]\n"));
  expect_decisions(*policy, {{"10.0.0.1:443", "allow listed_cidr allow.yaml:4"},
                             {"10.0.0.1:22", "deny denied allow.yaml:5"}});
}

TEST(AddressGuard, OfANameRefusesWhateverAnyDenyRangeCovers) {
  const auto policy =
      policy_of(coder("    allow: [{cidr: 127.0.0.1/32, ports: [11434]}]\n"
                      "    deny: [{cidr: 127.0.0.0/8}]\n"));
  const AgentRules& rules = policy->for_agent("coder-1");
  EXPECT_EQ(judged(*policy, "127.0.0.1", 11434), "deny denied allow.yaml:5");
  for (const std::string asked : {"127.0.0.1:11434", "host.sluice.internal:11434"}) {
    EXPECT_TRUE(rules.decide(target(asked))) << asked;
    EXPECT_TRUE(rules.judge_address(target(asked), ip("127.0.0.1"), OnThisMachine::yes)) << asked;
  }
}

TEST(AddressGuard, OfAPolicyRefusesPrivateAddressesThatNoCidrRuleCovers) {
  const auto policy =
      policy_of(coder("    allow:\n"                                  // 4
                      "      - any: true\n"                           // 5
                      "      - {cidr: 10.0.0.0/8, ports: [5432]}\n"   // 6
                      "      - {cidr: 10.1.2.3/32, ports: [22]}\n"    // 7
                      "      - {cidr: 64:ff9b::/96, ports: [443]}\n"  // 8
                      "    deny:\n"                                   // 9
                      "      - {cidr: 10.1.0.0/16, ports: [5432]}\n"  // 10
                      "      - {cidr: 8.8.4.0/24}\n"));               // 11
  const OnThisMachine yes = OnThisMachine::yes;
  EXPECT_EQ(judged(*policy, "1.1.1.1", 9999), "allow listed default");
  EXPECT_EQ(judged(*policy, "1.1.1.1", 443, yes), "deny address_private default");
  EXPECT_EQ(judged(*policy, "8.8.4.4", 443), "deny denied allow.yaml:11");
  EXPECT_EQ(judged(*policy, "10.0.0.1", 5432), "allow listed_cidr allow.yaml:6");
  EXPECT_EQ(judged(*policy, "10.0.0.1", 5432, yes), "allow listed_cidr allow.yaml:6");
  EXPECT_EQ(judged(*policy, "10.0.0.1", 443), "deny address_private default");
  EXPECT_EQ(judged(*policy, "10.1.0.1", 5432), "deny denied allow.yaml:10");
  EXPECT_EQ(judged(*policy, "10.1.2.3", 22), "allow listed_cidr allow.yaml:7");
  EXPECT_EQ(judged(*policy, "10.1.2.3", 5432), "deny denied allow.yaml:10");
  EXPECT_EQ(judged(*policy, "127.0.0.1", 443, yes), "deny address_private default");
  EXPECT_EQ(judged(*policy, "169.254.169.254", 80), "deny address_forbidden default");
  EXPECT_EQ(judged(*policy, "fd00:ec2::254", 80), "deny address_forbidden default");
  EXPECT_EQ(judged(*policy, "64:ff9b::1.1.1.1", 443), "allow listed_cidr allow.yaml:8");
  EXPECT_EQ(judged(*policy, "64:ff9b::8.8.4.4", 443), "deny denied allow.yaml:11");
  EXPECT_EQ(judged(*policy, "64:ff9b::10.0.0.1", 443), "deny address_private default");
  EXPECT_EQ(judged(*policy, "64:ff9b::192.168.0.1", 443), "deny address_private default");
  EXPECT_EQ(judged(*policy, "::ffff:1.1.1.1", 443), "deny address_private default");
}

TEST(Policy, TheMachinesOwnLoopbackHasAName) {
  const auto policy =
      policy_of(coder("    allow:\n"                                 // 4
                      "      - any: true\n"                          // 5
                      "      - {cidr: 127.0.0.1, ports: [11434]}\n"  // 6
                      "      - {cidr: \"::1\", ports: [8080]}\n"));  // 7
  expect_decisions(*policy, {{"host.sluice.internal:11434", "allow listed_cidr allow.yaml:6"},
                             {"HOST.sluice.internal.:8080", "allow listed_cidr allow.yaml:7"},
                             {"host.sluice.internal:443", "deny port_not_allowed allow.yaml:6"},
                             {"a.host.sluice.internal:443", "allow listed allow.yaml:5"},
                             {"127.0.0.1:11434", "allow listed_cidr allow.yaml:6"}});
  const auto without = policy_of(coder("    allow: [{any: true}]\n"));
  expect_decisions(*without, {{"host.sluice.internal:443", "deny address_private default"}});
  const auto denied =
      policy_of(coder("    allow: [{cidr: 127.0.0.0/8}]\n    deny: [{host: .internal}]\n"));
  expect_decisions(*denied, {{"host.sluice.internal:443", "deny denied allow.yaml:5"},
                             {"127.0.0.1:443", "allow listed_cidr allow.yaml:4"}});
}

}  // namespace
}  // namespace sluice::allowlists
