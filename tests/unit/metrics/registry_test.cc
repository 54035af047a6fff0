#include "metrics/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

// The value of the series whose text is `series`, or nothing.
std::optional<double> value(const std::string& page, std::string_view series) {
  std::istringstream in(page);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(series) && line[series.size()] == ' ') {
      return std::stod(line.substr(series.size() + 1));
    }
  }
  return {};
}

TEST(Registry, CountsDecisionsByAgentVerdictAndReason) {
  Registry registry({.version = "1.2.3"});
  const auto agent = registry.agent("coder-1");
  agent->decided(Verdict::allow, Reason::listed);
  agent->decided(Verdict::allow, Reason::listed);
  agent->decided(Verdict::deny, Reason::not_listed);
  agent->decided(Verdict::allow, Reason::connect_refused);
  const std::string page = registry.exposition();
  const struct {
    std::string_view labels;
    double count;
  } cases[] = {{R"({agent="coder-1",verdict="allow",reason="listed"})", 2},
               {R"({agent="coder-1",verdict="deny",reason="not_listed"})", 1},
               {R"({agent="coder-1",verdict="allow",reason="connect_refused"})", 1},
               {R"({agent="coder-1",verdict="deny",reason="never"})", 0},
               {R"({agent="coder-1",verdict="report",reason="reported"})", 0}};
  for (const auto& [labels, count] : cases) {
    EXPECT_EQ(value(page, "sluice_decisions_total" + std::string(labels)), count) << labels;
  }
  EXPECT_EQ(value(page, R"(sluice_build_info{version="1.2.3"})"), 1);
}

TEST(Registry, ShowsZeroForEachPairThatCanOccurAndNoOther) {
  Registry registry;
  const std::string page = registry.exposition();
  for (std::size_t i = 0; i < reason_count; ++i) {
    const Reason reason{static_cast<std::uint8_t>(i)};
    const auto series = [&](Verdict verdict) {
      return value(page, "sluice_decisions_total{agent=\"other\",verdict=\"" +
                             std::string(verdict_name(verdict)) + "\",reason=\"" +
                             std::string(reason_name(reason)) + "\"}");
    };
    const bool listed = reason == Reason::listed || reason == Reason::listed_cidr;
    const bool denied = !is_allowed(reason) && !is_failure(reason);
    EXPECT_EQ(series(Verdict::allow).has_value(), listed || is_failure(reason));
    EXPECT_EQ(series(Verdict::report).has_value(),
              reason == Reason::reported || is_failure(reason));
    EXPECT_EQ(series(Verdict::deny).has_value(), denied || reason == Reason::internal);
  }
}

TEST(Registry, ShowsAPairThatWasThoughtImpossible) {
  Registry registry;
  registry.agent("a")->decided(Verdict::deny, Reason::dns_failed);
  EXPECT_EQ(value(registry.exposition(),
                  R"(sluice_decisions_total{agent="a",verdict="deny",reason="dns_failed"})"),
            1);
}

TEST(Registry, CountsConnectionsBytesTunnelsAndQuestions) {
  Registry registry;
  const auto agent = registry.agent("a");
  registry.connection(Via::socks5);
  agent->moved(Direction::up, 10);
  agent->moved(Direction::down, 5'000'000'000);
  agent->tunnel_opened();
  agent->tunnel_opened();
  agent->tunnel_closed(TunnelEnd::idle);
  agent->dns(DnsOutcome::answered);
  agent->dns_refused(Reason::not_listed);
  agent->udp_refused(12);
  agent->started_programs(7);
  registry.set_policy_rules(12);
  ++registry.audit()->lines;
  registry.audit()->dropped += 3;
  const std::string page = registry.exposition();
  const struct {
    std::string_view series;
    double count;
  } cases[] = {{R"(sluice_connections_total{via="socks5"})", 1},
               {R"(sluice_connections_total{via="connect"})", 0},
               {R"(sluice_bytes_total{agent="a",direction="up"})", 10},
               {R"(sluice_bytes_total{agent="a",direction="down"})", 5e9},
               {R"(sluice_tunnels{agent="a"})", 1},
               {R"(sluice_tunnel_ends_total{end="idle"})", 1},
               {R"(sluice_tunnel_ends_total{end="closed"})", 0},
               {R"(sluice_dns_queries_total{agent="a",outcome="answered"})", 1},
               {R"(sluice_dns_queries_total{agent="a",outcome="refused"})", 1},
               {R"(sluice_dns_queries_total{agent="a",outcome="exhausted"})", 0},
               {R"(sluice_udp_refused_total{agent="a"})", 12},
               {R"(sluice_udp_refused_total{agent="other"})", 0},
               {R"(sluice_execs_total{agent="a"})", 7},
               {R"(sluice_execs_total{agent="other"})", 0},
               {"sluice_policy_rules", 12},
               {"sluice_audit_lines_total", 1},
               {"sluice_audit_dropped_total", 3},
               {"sluice_agents", 1}};
  for (const auto& [series, count] : cases) EXPECT_EQ(value(page, series), count) << series;
  for (const auto* series : {"process_cpu_seconds_total", "process_start_time_seconds",
                             "process_resident_memory_bytes", "process_open_fds"}) {
    EXPECT_GT(value(page, series).value_or(0), 0) << series;
  }
}

TEST(Registry, TellsOfThePolicyAndItsReloads) {
  Registry registry;
  const std::string successes = R"(sluice_policy_reloads_total{result="success"})";
  const std::string failures = R"(sluice_policy_reloads_total{result="failure"})";
  const std::string current = "sluice_policy_last_reload_successful";
  const std::string when = "sluice_policy_last_reload_success_timestamp_seconds";
  const auto expect = [&](std::array<double, 4> counts) {
    const std::string page = registry.exposition();
    EXPECT_EQ(value(page, successes), counts[0]);
    EXPECT_EQ(value(page, failures), counts[1]);
    EXPECT_EQ(value(page, current), counts[2]);
    EXPECT_EQ(value(page, when), counts[3]);
  };
  const auto at = [](int seconds) {
    return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
  };
  expect({0, 0, 0, 0});
  registry.policy_loaded(at(1000));
  expect({0, 0, 1, 1000});
  registry.policy_reloaded(Succeeded::no, at(2000));
  expect({0, 1, 0, 1000});
  registry.policy_reloaded(Succeeded::yes, at(3000));
  expect({1, 1, 1, 3000});
}

TEST(AgentMetrics, TellsTheTotalsOfItsOwnRegistrationOnly) {
  Registry registry;
  registry.agent("a")->decided(Verdict::allow, Reason::listed);
  const auto agent = registry.agent("a");
  agent->decided(Verdict::allow, Reason::listed_cidr);
  agent->decided(Verdict::report, Reason::reported, Reason::not_listed);
  agent->decided(Verdict::report, Reason::dns_failed, Reason::not_listed);
  agent->decided(Verdict::deny, Reason::never);
  agent->decided(Verdict::allow, Reason::dns_failed);
  agent->dns_refused(Reason::not_listed);
  agent->moved(Direction::up, 7);
  agent->moved(Direction::down, 9);
  const Totals totals = agent->totals();
  EXPECT_EQ(totals.allowed, 1U);
  EXPECT_EQ(totals.reported[static_cast<std::size_t>(Reason::not_listed)], 1U);
  EXPECT_EQ(totals.denied[static_cast<std::size_t>(Reason::never)], 1U);
  EXPECT_EQ(totals.denied[static_cast<std::size_t>(Reason::dns_failed)], 2U);
  EXPECT_EQ(totals.denied[static_cast<std::size_t>(Reason::not_listed)], 0U);
  EXPECT_EQ(totals.dns_denied[static_cast<std::size_t>(Reason::not_listed)], 1U);
  EXPECT_EQ(totals.bytes_up, 7U);
  EXPECT_EQ(totals.bytes_down, 9U);
  EXPECT_EQ(value(registry.exposition(),
                  R"(sluice_decisions_total{agent="a",verdict="allow",reason="listed"})"),
            1);
}

TEST(Registry, CountsAgentsBeyondTheCapAsOther) {
  Registry registry({.version = "", .agent_cap = 2});
  std::vector<std::shared_ptr<AgentMetrics>> agents;
  for (int i = 0; i < 50; ++i) {
    agents.push_back(registry.agent("agent-" + std::to_string(i)));
    agents.back()->moved(Direction::up, 1);
  }
  const std::string page = registry.exposition();
  EXPECT_EQ(value(page, R"(sluice_bytes_total{agent="agent-1",direction="up"})"), 1);
  EXPECT_THAT(page, Not(HasSubstr("agent-2")));
  EXPECT_EQ(value(page, R"(sluice_bytes_total{agent="other",direction="up"})"), 48);
  EXPECT_EQ(value(page, "sluice_agents"), 50);
  EXPECT_EQ(agents.back()->totals().bytes_up, 1U);
}

TEST(Registry, ForgetsAnAgentThatHasGoneAfterTheGrace) {
  std::chrono::steady_clock::time_point now{};
  Registry registry({.version = "", .agent_cap = 1, .grace = 300s, .now = [&] { return now; }});
  registry.agent("a")->moved(Direction::up, 1);
  EXPECT_EQ(value(registry.exposition(), "sluice_agents"), 0);
  now += 299s;
  EXPECT_THAT(registry.exposition(), HasSubstr("agent=\"a\""));
  const auto again = registry.agent("a");  // counts on, and is not forgotten while it lives
  again->moved(Direction::up, 1);
  now += 1000s;
  EXPECT_EQ(value(registry.exposition(), R"(sluice_bytes_total{agent="a",direction="up"})"), 2);
  EXPECT_THAT(registry.agent("b"), testing::NotNull());
  EXPECT_THAT(registry.exposition(), Not(HasSubstr("agent=\"b\"")));
}

TEST(Registry, MakesRoomForANewAgentWhenTheGraceIsOver) {
  std::chrono::steady_clock::time_point now{};
  Registry registry({.version = "", .agent_cap = 1, .grace = 300s, .now = [&] { return now; }});
  registry.agent("a");
  now += 300s;
  const auto b = registry.agent("b");
  const std::string page = registry.exposition();
  EXPECT_THAT(page, HasSubstr("agent=\"b\""));
  EXPECT_THAT(page, Not(HasSubstr("agent=\"a\"")));
}

TEST(Registry, AnAgentCalledOtherIsNotASecondSeries) {
  Registry registry;
  const auto agent = registry.agent("other");
  agent->moved(Direction::up, 3);
  const std::string page = registry.exposition();
  std::istringstream in(page);
  std::set<std::string> seen;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    EXPECT_TRUE(seen.insert(line.substr(0, line.rfind(' '))).second) << line;
  }
  EXPECT_EQ(value(page, R"(sluice_bytes_total{agent="other",direction="up"})"), 3);
}

TEST(Registry, AgentsMayOutliveIt) {
  auto registry = std::make_unique<Registry>();
  const auto agent = registry->agent("a");
  registry.reset();
  agent->decided(Verdict::allow, Reason::listed);
  EXPECT_EQ(agent->totals().allowed, 1U);
}

TEST(Registry, LosesNoCountBetweenThreads) {
  Registry registry;
  const auto agent = registry.agent("a");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        agent->moved(Direction::down, 2);
        if (i % 500 == 0) registry.exposition();
        if (i % 100 == 0) registry.agent("b")->decided(Verdict::deny, Reason::denied);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(agent->totals().bytes_down, 16000U);
  EXPECT_EQ(value(registry.exposition(),
                  R"(sluice_decisions_total{agent="b",verdict="deny",reason="denied"})"),
            80);
}

TEST(Registry, NamesEveryMetricAfterTheConventions) {
  Registry registry;
  std::istringstream in(registry.exposition());
  for (std::string word, name, type; in >> word;) {
    if (word != "TYPE") continue;
    in >> name >> type;
    EXPECT_TRUE(name.starts_with("sluice_") || name.starts_with("process_")) << name;
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << name;
  }
}

}  // namespace
}  // namespace sluice::metrics
