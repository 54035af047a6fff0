// mode: report lets pass what nothing opens, and says what enforcement would have said.
#include "policies.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view policy_text = R"(version: 1
never:
  - host: "*.corp.example"
agents:
  coder-1:
    mode: report
    allow:
      - host: api.example.com
        ports: [443]
      - cidr: 10.0.0.0/8
        ports: [5432]
      - cidr: 127.0.0.1/32
        ports: [11434]
    deny:
      - host: gist.example.com
)";

std::string told(const Decision& decision) {
  std::string text = summary(decision);
  if (decision.would_deny) text += " would " + std::string(reason_name(*decision.would_deny));
  return text;
}

TEST(ReportMode, LetsPassWhatIsNotListedAndOtherPortsOnly) {
  const auto policy = policy_of(std::string(policy_text));
  const AgentRules& rules = policy->for_agent("coder-1");
  EXPECT_EQ(rules.mode(), Mode::report);
  const std::vector<Case> cases = {
      {"api.example.com:443", "allow listed allow.yaml:8"},
      {"api.example.com:22", "report reported allow.yaml:8 would port_not_allowed"},
      {"other.example.com:443", "report reported default would not_listed"},
      {"gist.example.com:443", "deny denied allow.yaml:15"},
      {"git.corp.example:443", "deny never allow.yaml:3"},
      {"25.1.2.3:443", "report reported default would not_listed"},
      {"10.0.0.1:5432", "allow listed_cidr allow.yaml:10"},
      {"10.0.0.1:22", "deny address_private default"},
      {"192.168.0.1:22", "deny address_private default"},
      {"169.254.169.254:80", "deny address_forbidden default"},
      {"host.sluice.internal:11434", "allow listed_cidr allow.yaml:12"},
      {"host.sluice.internal:22", "deny address_private default"},
  };
  for (const auto& [where, expected] : cases) {
    EXPECT_EQ(told(rules.decide(target(where))), expected) << where;
  }
}

TEST(ReportMode, LeavesTheAddressGuardAsItIs) {
  const auto policy = policy_of(std::string(policy_text));
  EXPECT_EQ(judged(*policy, "10.0.0.1", 22), "deny address_private default");
  EXPECT_EQ(judged(*policy, "25.1.2.3", 22), "allow listed default");
  EXPECT_EQ(judged(*policy, "25.1.2.3", 22, OnThisMachine::yes), "deny address_private default");
  EXPECT_EQ(judged(*policy, "169.254.169.254", 80), "deny address_forbidden default");
}

TEST(ReportMode, AnswersDnsForEveryNameThatMayPassOnSomePort) {
  const auto policy = policy_of(std::string(policy_text));
  const AgentRules& rules = policy->for_agent("coder-1");
  const auto any_port = [&](std::string_view name) {
    return told(rules.decide_any_port(*Host::parse(name)));
  };
  EXPECT_EQ(any_port("api.example.com"), "allow listed allow.yaml:8");
  EXPECT_EQ(any_port("other.example.com"), "report reported default would not_listed");
  EXPECT_EQ(any_port("gist.example.com"), "deny denied allow.yaml:15");
  EXPECT_EQ(any_port("git.corp.example"), "deny never allow.yaml:3");
}

TEST(ReportMode, DemandsOfTheBytesWhatAPortDoesByDefault) {
  const auto policy = policy_of(std::string(policy_text));
  const AgentRules& rules = policy->for_agent("coder-1");
  EXPECT_EQ(rules.decide(target("other.example.com:443")).tls, TlsMode::require);
  EXPECT_EQ(rules.decide(target("other.example.com:22")).tls, TlsMode::match);
}

TEST(TheMode, IsEnforceUnlessTheEntrySaysOtherwise) {
  const auto policy = policy_of(coder("    mode: enforce\n"));
  EXPECT_EQ(policy->for_agent("coder-1").mode(), Mode::enforce);
  EXPECT_EQ(policy->for_agent("other").mode(), Mode::enforce);
  EXPECT_EQ(errors_of(coder("    mode: audit\n")),
            "allow.yaml:4:5: error: 'mode' is 'audit'\n"
            "hint: write mode: enforce or mode: report\n");
  EXPECT_EQ(errors_of(coder("    mode: [report]\n")),
            "allow.yaml:4:5: error: 'mode' is a list\n"
            "hint: write mode: enforce or mode: report\n");
}

TEST(AnUnknownAgent, IsNeverReportedButDenied) {
  const auto policy = policy_of(std::string(policy_text));
  EXPECT_EQ(told(policy->for_agent("other").decide(target("example.com"))),
            "deny unknown_agent default");
}

}  // namespace
}  // namespace sluice::allowlists
