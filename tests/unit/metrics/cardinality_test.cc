// Whatever agents do, /metrics stays as large as the cap of agents says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "metrics/budgets.h"
#include "metrics/registry.h"

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t cap = 20;

struct BothBudgets : Budgets {
  BudgetUses uses() const override { return {BudgetUse(), BudgetUse()}; }
};

// What counts everything that an agent can be counted for.
void do_everything(Registry& registry, AgentMetrics& agent) {
  agent.started();
  agent.has_budgets(std::make_shared<BothBudgets>());
  for (std::size_t i = 0; i < reason_count; ++i) {
    const Reason reason{static_cast<std::uint8_t>(i)};
    for (const Verdict verdict : {Verdict::allow, Verdict::report, Verdict::deny}) {
      agent.decided(verdict, reason);
    }
    agent.dns_refused(reason);
    registry.path().connect_failed(reason);
  }
  for (std::size_t i = 0; i < dns_outcome_count; ++i) agent.dns(DnsOutcome(i));
  for (std::size_t i = 0; i < agent_end_count; ++i) agent.ended(AgentEnd(i));
  for (std::size_t i = 0; i < tunnel_end_count; ++i) {
    agent.tunnel_opened();
    agent.tunnel_closed(TunnelEnd(i));
  }
  agent.moved(Direction::up, 1);
  agent.udp_refused(1);
  agent.started_programs(1);
}

// The series of a page, without their values.
std::multiset<std::string> series_of(const std::string& page) {
  std::multiset<std::string> series;
  std::istringstream in(page);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with('#')) series.insert(line.substr(0, line.rfind(' ')));
  }
  return series;
}

// By label: the values that the page has for it.
std::map<std::string, std::set<std::string>> labels_of(const std::string& page) {
  std::map<std::string, std::set<std::string>> labels;
  for (const std::string& series : series_of(page)) {
    const std::size_t brace = series.find('{');
    if (brace == series.npos) continue;
    std::istringstream in(series.substr(brace + 1, series.size() - brace - 2));
    for (std::string pair; std::getline(in, pair, ',');) {
      labels[pair.substr(0, pair.find('='))].insert(pair.substr(pair.find('=') + 1));
    }
  }
  return labels;
}

TEST(Cardinality, AFloodOfAgentsAddsNoSeriesBeyondTheCap) {
  Registry registry({.version = "1", .agent_cap = cap});
  std::vector<std::shared_ptr<AgentMetrics>> agents;
  const auto add = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      agents.push_back(registry.agent("agent-" + std::to_string(agents.size())));
      do_everything(registry, *agents.back());
    }
  };
  add(cap + 1);
  const std::string full = registry.exposition();
  add(2000);
  EXPECT_EQ(series_of(registry.exposition()), series_of(full));
  EXPECT_EQ(labels_of(full)["agent"].size(), cap + 1) << "the cap, and other";
}

TEST(Cardinality, NothingThatAnAgentChoseIsInALabel) {
  Registry registry({.version = "1", .agent_cap = cap});
  const auto agent = registry.agent("a");
  do_everything(registry, *agent);
  const auto labels = labels_of(registry.exposition());
  const std::set<std::string> known = {"agent",  "direction", "end",     "error",
                                       "kind",   "le",        "outcome", "reason",
                                       "result", "verdict",   "version", "via"};
  for (const auto& [name, values] : labels) {
    EXPECT_TRUE(known.contains(name)) << name;
    EXPECT_LE(values.size(), reason_count) << name;
  }
}

TEST(Cardinality, EverySeriesIsThereFromTheFirstScrapeOn) {
  Registry registry({.version = "1"});
  const auto agent = registry.agent("a");
  const auto before = series_of(registry.exposition());
  const std::string page = registry.exposition();
  agent->started();
  agent->ended(AgentEnd::memory_limit);
  agent->decided(Verdict::deny, Reason::not_listed);
  agent->decided(Verdict::allow, Reason::dns_timeout);
  registry.path().connect_failed(Reason::unreachable);
  registry.path().resolving_failed(ResolverFailure::server);
  registry.path().connected_in(3ms);
  registry.probed(Held::no);
  EXPECT_EQ(series_of(registry.exposition()), before);
}

TEST(Cardinality, AgentsThatCameAndWentGiveTheirSeriesBack) {
  std::chrono::steady_clock::time_point now{};
  Registry registry({.version = "1", .agent_cap = cap, .grace = 300s, .now = [&] { return now; }});
  const auto empty = series_of(registry.exposition());
  for (std::size_t round = 0; round < 50; ++round) {
    for (std::size_t i = 0; i < cap; ++i) {
      const auto agent = registry.agent("r" + std::to_string(round) + "-" + std::to_string(i));
      agent->started();
      agent->has_budgets(std::make_shared<BothBudgets>());
    }
    now += 300s;
  }
  EXPECT_EQ(series_of(registry.exposition()), empty);
}

TEST(PathCounts, CountsTimesAndFailuresByKind) {
  Registry registry({.version = "1"});
  registry.path().connected_in(1ms);
  registry.path().connected_in(3ms);
  registry.path().connected_in(60s);
  registry.path().decided_in(300ns);
  registry.path().resolved_in(20ms);
  registry.path().spliced(4096);
  registry.path().connect_failed(Reason::connect_refused);
  registry.path().connect_failed(Reason::sni_mismatch);
  registry.path().resolving_failed(ResolverFailure::bounded);
  registry.set_tunnels_limit(512);
  registry.probed(Held::yes);
  registry.probed(Held::no);
  const std::string page = registry.exposition();
  for (const auto* line :
       {"sluice_connect_duration_seconds_bucket{le=\"0.001\"} 1\n",
        "sluice_connect_duration_seconds_bucket{le=\"0.0025\"} 1\n",
        "sluice_connect_duration_seconds_bucket{le=\"0.005\"} 2\n",
        "sluice_connect_duration_seconds_bucket{le=\"10\"} 2\n",
        "sluice_connect_duration_seconds_bucket{le=\"+Inf\"} 3\n",
        "sluice_connect_duration_seconds_count 3\n", "sluice_decision_duration_seconds_count 1\n",
        "sluice_resolver_duration_seconds_count 1\n", "sluice_spliced_bytes_total 4096\n",
        "sluice_connect_failures_total{error=\"connect_refused\"} 1\n",
        "sluice_connect_failures_total{error=\"internal\"} 1\n",
        "sluice_resolver_failures_total{kind=\"bounded\"} 1\n", "sluice_tunnels_limit 512\n",
        "sluice_containment_probe_ok 0\n", "sluice_containment_probes_total{result=\"held\"} 1\n",
        "sluice_containment_probes_total{result=\"leaked\"} 1\n"}) {
    EXPECT_THAT(page, testing::HasSubstr(line));
  }
  registry.probed(Held::yes);
  EXPECT_THAT(registry.exposition(), testing::HasSubstr("sluice_containment_probe_ok 1\n"));
}

TEST(Histogram, SumsWhatAllThreadsSaw) {
  static constexpr std::array<std::chrono::nanoseconds, 2> bounds = {1us, 1ms};
  Histogram histogram(bounds);
  histogram.observe(1us);
  histogram.observe(1001ns);
  histogram.observe(1s);
  histogram.observe(-1s);
  const auto seen = histogram.seen();
  EXPECT_EQ(seen.at_most[0], 2U);
  EXPECT_EQ(seen.at_most[1], 3U);
  EXPECT_EQ(seen.count, 4U);
  EXPECT_EQ(seen.sum, 1s + 2001ns);
}

}  // namespace
}  // namespace sluice::metrics
