#include <gtest/gtest.h>

#include "proxy/wire/reply.h"

namespace sluice::proxy::wire {
namespace {

std::string say(Reason reason, std::string target, std::string_view rule = "",
                std::string detail = "") {
  return sentence({.reason = reason,
                   .agent = "coder-1",
                   .target = std::move(target),
                   .rule = rule,
                   .detail = std::move(detail)});
}

TEST(Sentence, SaysWhatWasRefusedWhyAndWhatToDoNext) {
  EXPECT_EQ(
      say(Reason::not_listed, "other.example:443"),
      "other.example:443 is not on the allow list of agent 'coder-1' (not_listed); do not retry; "
      "if the task needs it, ask the operator to add `- host: other.example` to the allow list of "
      "agent 'coder-1' in the policy");
  EXPECT_EQ(
      say(Reason::never, "db.corp.example:5432", "policy.yaml:4"),
      "db.corp.example:5432 is closed to every agent by rule policy.yaml:4 (never); do not retry: "
      "no allow rule can open it");
  EXPECT_EQ(
      say(Reason::denied, "a.test:443", "policy.yaml:9"),
      "a.test:443 is denied to agent 'coder-1' by rule policy.yaml:9 (denied); do not retry and do "
      "not look for another way there; if the task needs it, ask the operator");
  EXPECT_EQ(
      say(Reason::port_not_allowed, "a.test:8443", "policy.yaml:9"),
      "agent 'coder-1' may reach a.test, but not on port 8443 (port_not_allowed); use a port that "
      "is allowed, or ask the operator to add 8443 to the `ports:` of that host in the policy");
  EXPECT_EQ(
      say(Reason::bad_request, "", "", "a line ends in LF without CR"),
      "the bytes for the target are not well-formed (bad_request): a line ends in LF without CR; "
      "send the request again as the standard has it");
  EXPECT_EQ(
      say(Reason::connect_refused, "a.test:443", "policy.yaml:9"),
      "the policy allows a.test:443, but the origin refused the connection (connect_refused); "
      "check the port, or try again later");
}

TEST(Sentence, ProposesARuleThatWouldOpenTheTarget) {
  struct Case {
    std::string_view target, line;
  };
  const Case cases[] = {
      {"a.test:80", "`- host: a.test`"},
      {"a.test", "`- host: a.test`"},
      {"a.test:8443", "`- {host: a.test, ports: [8443]}`"},
      {"192.0.2.1:443", "`- cidr: \"192.0.2.1\"`"},
      {"[2001:db8::1]:5432", "`- {cidr: \"2001:db8::1\", ports: [5432]}`"},
      {"2001:db8::1", "`- cidr: \"2001:db8::1\"`"},
  };
  for (const Case& c : cases) {
    const std::string said = say(Reason::not_listed, std::string(c.target));
    EXPECT_NE(said.find(c.line), std::string::npos) << said;
  }
}

TEST(Sentence, NeverLetsAnAgentWordTheRuleThatAPersonPastes) {
  for (const std::string target :
       {"a.test, any: true}:443", "*.test:443", "a\n- any: true", "`x`:1", "A b:443",
        "198.18.0.9:443", "[fd73:6c75:6963::9]:443"}) {
    const std::string said = say(Reason::not_listed, target);
    EXPECT_NE(said.find("`- host: NAME`"), std::string::npos) << said;
    EXPECT_EQ(said.find('\n'), std::string::npos);
  }
}

TEST(Sentence, IsOnePrintableLineForEveryReason) {
  for (std::size_t i = 0; i < reason_count; ++i) {
    const auto reason = static_cast<Reason>(i);
    const std::string said = say(reason, "x\x1b[2J{agent}{}\r\n\xe2\x80\xae:99999", "p\n:1", "d\r");
    EXPECT_EQ(said.find_first_of("\r\n\x1b"), std::string::npos) << said;
    EXPECT_EQ(said.find("\xe2\x80\xae"), std::string::npos) << said;
    EXPECT_NE(said.find("(" + std::string(reason_name(reason)) + "): d"), std::string::npos)
        << said;
    EXPECT_FALSE(said.ends_with('.'));
    EXPECT_FALSE(say(reason, "").empty());
    EXPECT_FALSE(say(reason, ":").empty());
  }
}

}  // namespace
}  // namespace sluice::proxy::wire
