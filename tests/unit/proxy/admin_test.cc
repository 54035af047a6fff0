#include "proxy/daemon/admin.h"

#include <gmock/gmock.h>

namespace sluice::proxy {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Admin, ServesMetricsAndHealthAndNothingElse) {
  metrics::Registry registry;
  const auto agent = registry.agent("coder-1");
  agent->decided(Verdict::deny, Reason::not_listed);
  const AdminPages pages{.registry = registry};
  const std::string metrics = admin_response("GET", "/metrics?x=1", pages);
  EXPECT_THAT(
      metrics,
      StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(
      metrics,
      HasSubstr(
          "sluice_decisions_total{agent=\"coder-1\",verdict=\"deny\",reason=\"not_listed\"} 1"));
  EXPECT_THAT(admin_response("GET", "/healthz", pages), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(admin_response("GET", "/readyz", pages), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(admin_response("GET", "/", pages), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(admin_response("HEAD", "/healthz", pages), EndsWith("\r\n\r\n"));
}

TEST(Admin, RefusesOtherMethodsAndSaysWhichThereAre) {
  const metrics::Registry registry;
  const AdminPages pages{.registry = registry};
  EXPECT_THAT(admin_response("POST", "/metrics", pages),
              AllOf(StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"),
                    HasSubstr("\r\nAllow: GET, HEAD\r\n"),
                    EndsWith("\r\n\r\n{\"error\":\"only GET and HEAD are answered here\","
                             "\"hint\":\"nothing can be changed over this socket\"}\n")));
}

// Pages for operators, with what they are made of.
struct Bench {
  metrics::Registry registry;
  metrics::Recent recent;
  AdminPages pages{.registry = registry,
                   .operators = {.policy = [] { return "{}\n"; },
                                 .agents =
                                     [this] {
                                       AgentAccount account{.name = "coder-1",
                                                            .has_network = HasNetwork::yes,
                                                            .since = {},
                                                            .connections = 2,
                                                            .totals = {},
                                                            .budgets = {}};
                                       account.budgets[0] = {.spent = 7,
                                                             .limit = 1024,
                                                             .period = std::chrono::hours(1),
                                                             .resets = {}};
                                       account.totals.allowed = 3;
                                       account.totals.denied[std::size_t(Reason::denied)] = 4;
                                       account.totals.denied[std::size_t(Reason::dns_failed)] = 5;
                                       return std::vector<AgentAccount>{account};
                                     },
                                 .recent = &recent}};

  std::string body(std::string_view target) const {
    const std::string answer = admin_response("GET", target, pages);
    EXPECT_THAT(answer, HasSubstr("Content-Type: application/json\r\n"));
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }
  std::string status(std::string_view target) const {
    return admin_response("GET", target, pages).substr(9, 3);
  }
  void deny(std::string host) {
    metrics::AuditLine line;
    line.agent = "coder-1";
    line.via = metrics::Via::http;
    line.host = std::move(host);
    line.port = 80;
    line.reason = Reason::not_listed;
    line.rule = "default";
    recent.add(line, metrics::to_json(line));
  }
};

TEST(Admin, TellsOfAgentsAndPolicyOnlyWhereItIsServed) {
  const metrics::Registry registry;
  const AdminPages for_all{.registry = registry};
  for (const char* page : {"policy", "agents", "decisions", "top"}) {
    const std::string target = std::string("/api/v1/") + page;
    EXPECT_THAT(admin_response("GET", target, for_all),
                AllOf(StartsWith("HTTP/1.1 404 Not Found\r\n"),
                      HasSubstr("/api/v1 is on the admin socket")));
    EXPECT_EQ(Bench().status(target), "200");
  }
  EXPECT_EQ(Bench().body("/api/v1/policy"), "{}\n");
}

TEST(Admin, CountsWhatFailedApartFromWhatWasDenied) {
  EXPECT_THAT(Bench().body("/api/v1/agents"),
              HasSubstr("[{\"name\":\"coder-1\",\"kind\":\"network\",\"since\":\"1970-01-01T00:00:"
                        "00.000Z\",\"connections\":2,\"tunnels\":0,\"allowed\":3,\"reported\":0,"
                        "\"denied\":4,\"failed\":5,\"dns_refused\":0,\"programs\":0,"
                        "\"bytes_up\":0,\"bytes_down\":0,\"budgets\":{"));
}

TEST(Admin, TellsOfTheBudgetsThatThereAre) {
  EXPECT_THAT(Bench().body("/api/v1/agents"),
              EndsWith("\"budgets\":{\"up\":{\"spent\":7,\"limit\":1024,\"period_seconds\":3600,"
                       "\"resets\":\"1970-01-01T00:00:00.000Z\"}}}]}\n"));
}

TEST(Admin, EscapesWhatAnAgentChose) {
  Bench bench;
  bench.deny("\x1b[2J\u202e\xff.test");
  for (const char* page : {"/api/v1/decisions", "/api/v1/top"}) {
    const std::string body = bench.body(page);
    EXPECT_THAT(body, HasSubstr("\\u001b[2J\\u202e"));
    for (const char c : body.substr(0, body.size() - 1)) EXPECT_FALSE(c >= 0 && c < ' ') << body;
  }
}

TEST(Admin, AnswersAsManyAsAreAskedFor) {
  Bench bench;
  for (int i = 0; i < 150; ++i) bench.deny("h" + std::to_string(i) + ".test");
  const auto count = [&](std::string_view target) {
    const std::string body = bench.body(target);
    std::size_t found = 0;
    for (auto at = body.find("\"host\""); at != body.npos; at = body.find("\"host\"", at + 1))
      ++found;
    return found;
  };
  EXPECT_EQ(count("/api/v1/decisions"), 100U);
  EXPECT_EQ(count("/api/v1/decisions?limit=7"), 7U);
  EXPECT_EQ(count("/api/v1/decisions?agent=coder-1&limit=1000"), 150U);
  EXPECT_EQ(count("/api/v1/decisions?limit=0"), 0U);
  EXPECT_EQ(count("/api/v1/decisions?verdict=allow"), 0U);
  EXPECT_EQ(count("/api/v1/top"), 20U);
  EXPECT_EQ(count("/api/v1/top?agent=coder-2"), 0U);
}

TEST(Admin, RefusesAQuestionThatItDoesNotUnderstandWhole) {
  const Bench bench;
  for (const char* query :
       {"x=1", "agent", "agent=", "agent=%zz", "agent=a%2", "agent=a%00b", "verdict=Deny",
        "limit=-1", "limit=1001", "limit=1x", "limit=", "limit=1&limit=2", "&", "agent=a b"}) {
    EXPECT_EQ(bench.status(std::string("/api/v1/decisions?") + query), "400") << query;
    EXPECT_EQ(bench.status(std::string("/api/v1/top?") + query), "400") << query;
  }
  EXPECT_EQ(bench.status("/api/v1/decisions?agent=coder%2D1&verdict=deny&limit=1"), "200");
  EXPECT_EQ(bench.status("/api/v1/decisions?"), "200");
  EXPECT_EQ(bench.status("/api/v1/agents?limit=1"), "400");
  EXPECT_EQ(bench.status("/api/v1/policy?x"), "400");
}

}  // namespace
}  // namespace sluice::proxy
