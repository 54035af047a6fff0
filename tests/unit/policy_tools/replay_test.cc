#include "allowlists/tools/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/policy_tools/audit_lines.h"

namespace sluice::allowlists {
namespace {

using Json = nlohmann::json;

constexpr std::string_view policy_text = R"(version: 1
never:
  - host: never.example.com
agents:
  "coder-*":
    allow:
      - host: api.example.com
      - host: "*.example.net"
        ports: [8443]
      - host: db.example.com
        ports: [5432]
      - cidr: 10.1.0.0/16
        ports: [5432]
      - cidr: 203.0.113.0/24
        ports: [443]
    deny:
      - cidr: 10.1.9.0/24
      - host: denied.example.com
)";

ReplayReport replay(const std::vector<Wrote>& lines,
                    const std::string& policy = std::string(policy_text)) {
  Replay again(policy_of(policy));
  EXPECT_TRUE(feed(again, lines));
  return again.report();
}

// "same", or what changed: "blocked REASON", "allowed REASON".
std::string change_of(const Wrote& wrote) {
  const ReplayReport report = replay({wrote});
  if (!report.newly_blocked.empty()) {
    return fmt::format("blocked {}", reason_name(report.newly_blocked[0].now.reason));
  }
  if (!report.newly_allowed.empty()) {
    return fmt::format("allowed {}", reason_name(report.newly_allowed[0].now.reason));
  }
  std::uint64_t apart = 0;
  for (const std::uint64_t count : report.not_judged) apart += count;
  return apart > 0 ? "apart" : report.still_allowed > 0 ? "still allowed" : "still denied";
}

Wrote at(Wrote wrote, std::string address) {
  wrote.address = std::move(address);
  return wrote;
}

TEST(Replay, ComparesWhatALineSaysWithWhatThePolicyDecides) {
  const std::vector<std::pair<Wrote, std::string>> cases = {
      {{.host = "api.example.com"}, "still allowed"},
      {{.host = "www.example.com"}, "blocked not_listed"},
      {{.host = "api.example.com", .port = 22}, "blocked port_not_allowed"},
      {{.host = "never.example.com"}, "blocked never"},
      {{.host = "denied.example.com"}, "blocked denied"},
      {{.agent = "stranger", .host = "api.example.com"}, "blocked unknown_agent"},
      {refused("api.example.com", "not_listed"), "allowed listed"},
      {refused("a.example.net", "port_not_allowed", 8443), "allowed listed"},
      {refused("a.example.net", "port_not_allowed"), "still denied"},
      {refused("api.example.com", "denied"), "allowed listed"},
      {refused("api.example.com", "never"), "allowed listed"},
      {refused("api.example.com", "unknown_agent"), "allowed listed"},
      {refused("203.0.113.7", "not_listed"), "allowed listed_cidr"},
      {refused("198.51.100.7", "not_listed"), "still denied"},
      // A tunnel that a reload closed: what ended it was a policy, and another may not.
      {refused("api.example.com", "policy_changed"), "allowed listed"},
      {refused("www.example.com", "policy_changed"), "still denied"},
  };
  for (const auto& [wrote, expected] : cases) EXPECT_EQ(change_of(wrote), expected) << line(wrote);
}

TEST(Replay, TakesAFailureForWhatItIsAllowedAndNotDelivered) {
  for (const std::string reason :
       {"dns_failed", "dns_timeout", "connect_refused", "connect_timeout", "unreachable",
        "origin_tls_failed", "internal"}) {
    EXPECT_EQ(change_of({.host = "api.example.com", .reason = reason}), "still allowed") << reason;
    EXPECT_EQ(change_of({.host = "www.example.com", .reason = reason}), "blocked not_listed");
  }
}

TEST(Replay, DoesNotJudgeAgainWhatIsNotThePolicys) {
  for (const std::string reason :
       {"request_not_allowed", "auth_required", "bad_request", "bad_host", "scheme_not_allowed",
        "sni_mismatch", "sni_missing", "not_tls", "ech_present", "host_mismatch", "proxy_loop",
        "connection_limit", "rate_limit", "upload_budget", "download_budget", "header_too_large",
        "deadline"}) {
    EXPECT_EQ(change_of(refused("api.example.com", reason)), "apart") << reason;
    EXPECT_EQ(change_of(refused("", reason, 0)), "apart") << reason;
  }
}

TEST(Replay, JudgesADnsQuestionByAnyPort) {
  EXPECT_EQ(change_of(asked_in_dns("a.example.net")), "allowed listed");
  EXPECT_EQ(change_of(asked_in_dns("www.example.com")), "still denied");
  EXPECT_EQ(change_of(asked_in_dns("never.example.com", "never")), "still denied");
}

TEST(Replay, JudgesTheAddressThatWasDialled) {
  const Wrote database{.host = "db.example.com", .port = 5432};
  EXPECT_EQ(change_of(at(database, "10.1.0.5")), "still allowed");
  EXPECT_EQ(change_of(at(database, "10.2.0.5")), "blocked address_private");
  EXPECT_EQ(change_of(at(database, "10.1.9.5")), "blocked denied");
  const Wrote api{.host = "api.example.com"};
  EXPECT_EQ(change_of(at(api, "25.10.0.10")), "still allowed");
  EXPECT_EQ(change_of(at(api, "169.254.169.254")), "blocked address_forbidden");
  const Wrote was_private = refused("db.example.com", "address_private", 5432);
  EXPECT_EQ(change_of(at(was_private, "10.1.0.5")), "allowed listed");
  EXPECT_EQ(change_of(at(was_private, "10.2.0.5")), "still denied");
  // An address of the internet that was refused as private was one of the machine's own.
  EXPECT_EQ(change_of(at(was_private, "25.10.0.10")), "still denied");
}

TEST(Replay, KnowsThatNoPolicyOpensAForbiddenAddress) {
  const Wrote own_listener = refused("api.example.com", "address_forbidden");
  EXPECT_EQ(change_of(at(own_listener, "25.10.0.10")), "still denied");
  EXPECT_EQ(change_of(refused("169.254.169.254", "address_forbidden", 80)), "still denied");
  EXPECT_EQ(change_of(refused("198.18.0.7", "not_listed", 80)), "still denied");
}

TEST(Replay, TellsApartWhatPassedOnlyInReportMode) {
  const Wrote reported{.host = "www.example.com",
                       .verdict = "report",
                       .reason = "reported",
                       .would_deny = "not_listed"};
  Wrote failed = reported;
  failed.verdict = "allow";
  failed.reason = "dns_failed";
  const ReplayReport report = replay({reported, failed, {.host = "www.example.com"}});
  ASSERT_EQ(report.newly_blocked.size(), 1U);
  EXPECT_EQ(report.newly_blocked[0].count, 3U);
  EXPECT_EQ(report.newly_blocked[0].reported, 2U);
}

TEST(Replay, GroupsByAgentAndTargetAndShowsTheMostFrequentFirst) {
  const std::vector<Wrote> lines = {
      {.host = "www.example.com"},
      {.agent = "coder-2", .host = "www.example.com"},
      {.host = "www.example.com", .port = 80, .rule = "old.yaml:1"},
      {.host = "www.example.com", .port = 80, .rule = "old.yaml:2"},
      at({.host = "db.example.com", .port = 5432}, "10.2.0.5"),
      refused("2001:db8::1", "not_listed"),
      asked_in_dns("a.example.net"),
      refused("api.example.com", "not_listed"),
      {.host = "api.example.com"},
      refused("a.test", "sni_mismatch"),
      refused("a.test", "sni_mismatch"),
      refused("a.test", "deadline"),
      {.host = "w.example.com",
       .verdict = "report",
       .reason = "reported",
       .would_deny = "not_listed"},
  };
  EXPECT_EQ(to_text(replay(lines)), R"(newly blocked: 5 targets, 6 decisions
       2  coder-1  www.example.com:80: was listed by old.yaml:2, now not_listed by default
       1  coder-1  db.example.com:5432 at 10.2.0.5: was listed by policy.yaml:4, now address_private by default
       1  coder-1  w.example.com:443: was reported (else not_listed) by policy.yaml:4, now not_listed by default (1 passed only in report mode)
       1  coder-1  www.example.com:443: was listed by policy.yaml:4, now not_listed by default
       1  coder-2  www.example.com:443: was listed by policy.yaml:4, now not_listed by default
newly allowed: 2 targets, 2 decisions
       1  coder-1  a.example.net (DNS): was not_listed by default, now listed by new.yaml:8
       1  coder-1  api.example.com:443: was not_listed by default, now listed by new.yaml:7
unchanged: 1 allowed, 1 denied
not a policy's to change: 2 sni_mismatch, 1 deadline
)");
}

TEST(Replay, SaysNothingChangesWhenNothingDoes) {
  const ReplayReport report = replay({{.host = "api.example.com"}});
  EXPECT_FALSE(report.differs());
  EXPECT_EQ(to_text(report),
            "newly blocked: 0 targets, 0 decisions\nnewly allowed: 0 targets, 0 decisions\n"
            "unchanged: 1 allowed, 0 denied\n");
}

TEST(Replay, EscapesARuleThatSomebodyForgedIntoTheLog) {
  const std::string told =
      to_text(replay({{.host = "www.example.com", .rule = "\x1b[2Jx\nnewly \u202e"}}));
  EXPECT_NE(told.find("by \\x1b[2Jx\\x0anewly \\u{202e}, now"), std::string::npos) << told;
}

TEST(Replay, WritesOneJsonObject) {
  const ReplayReport report = replay(
      {at({.host = "db.example.com", .port = 5432}, "10.2.0.5"), refused("a.test", "deadline")});
  EXPECT_EQ(Json::parse(to_json(report, {.events = 3, .left_out = 9, .not_understood = 1})),
            Json::parse(R"({
    "newly_blocked": [{"agent": "coder-1", "host": "db.example.com", "port": 5432, "count": 1,
      "reported": 0, "address": "10.2.0.5",
      "old": {"verdict": "allow", "reason": "listed", "would_deny": "", "rule": "policy.yaml:4"},
      "new": {"verdict": "deny", "reason": "address_private", "would_deny": "", "rule": "default"}}],
    "newly_allowed": [], "unchanged": {"allowed": 0, "denied": 0}, "not_judged": {"deadline": 1},
    "skipped": {"events": 3, "other_agents": 0, "not_understood": 1, "left_out": 9}})"));
}

TEST(Replay, StopsAtMoreTargetsThanItsMemoryIsFor) {
  Replay again(policy_of(std::string(policy_text)), 2);
  const auto fed = feed(again, {{.host = "a.test"},
                                {.host = "b.test"},
                                {.host = "a.test"},
                                refused("", "bad_host", 0),
                                {.host = "a.test", .port = 80}});
  ASSERT_FALSE(fed);
  EXPECT_EQ(to_string(fed.error()),
            "error: the log names more than 2 targets\n"
            "hint: read it one agent at a time: --agent NAME");
}

}  // namespace
}  // namespace sluice::allowlists
