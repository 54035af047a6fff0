#include "metrics/thread_counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <set>
#include <thread>
#include <vector>

#include "metrics/registry.h"

namespace sluice::metrics {
namespace {

using Three = ThreadCounters<3>;

// Runs `work` on `count` threads that are there at the same time.
template <class Work>
void on_threads(unsigned count, Work work) {
  std::latch all(count);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      thread_number();
      all.arrive_and_wait();
      work(i);
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(ThreadCounters, LoseNothingOfMoreThreadsThanHaveCountersOfTheirOwn) {
  constexpr unsigned threads = own_thread_cap + 16;
  constexpr std::uint64_t each = 2000;
  Three counters;
  on_threads(threads, [&](unsigned) {
    for (std::uint64_t i = 0; i < each; ++i) counters.add(1, 3);
  });
  EXPECT_EQ(counters.sums(), (Three::Sums{0, threads * each * 3, 0}));
}

TEST(ThreadCounters, GiveEachThreadANumberOfItsOwnAsLongAsThereAreSome) {
  std::array<unsigned, own_thread_cap + 8> numbers{};
  on_threads(numbers.size(), [&](unsigned i) { numbers[i] = thread_number(); });
  const std::set<unsigned> different(numbers.begin(), numbers.end());
  EXPECT_GE(different.size(), own_thread_cap);  // the thread of the tests may have one
  EXPECT_EQ(*different.rbegin(), own_thread_cap);
}

TEST(ThreadCounters, CountOnInTheRowOfAThreadThatHasEnded) {
  Three counters;
  for (int i = 0; i < 200; ++i) {
    std::thread([&] {
      counters.add(2, 1);
      EXPECT_LT(thread_number(), own_thread_cap);
    }).join();
  }
  EXPECT_EQ(counters.sums()[2], 200U);
}

TEST(ThreadCounters, KeepAGaugeThatOneThreadRaisesAndAnotherLowers) {
  Three counters;
  on_threads(4, [&](unsigned i) {
    for (int n = 0; n < 500; ++n) counters.add(0, i % 2 == 0 ? 1 : std::uint64_t(-1));
  });
  EXPECT_EQ(counters.sums()[0], 0U);
}

TEST(ThreadCounters, NeverShowASumThatFalls) {
  Three counters;
  std::atomic<bool> done = false;
  std::thread reader([&] {
    std::uint64_t last = 0;
    while (!done) {
      const std::uint64_t sum = counters.sums()[0];
      EXPECT_GE(sum, last);
      last = sum;
    }
  });
  on_threads(3, [&](unsigned) {
    for (int i = 0; i < 20'000; ++i) counters.add(0, 1);
  });
  done = true;
  reader.join();
  EXPECT_EQ(counters.sums()[0], 60'000U);
}

double value(const std::string& page, const std::string& series) {
  const auto at = page.find("\n" + series + " ");
  return at == page.npos ? -1 : std::stod(page.substr(at + series.size() + 2));
}

TEST(AgentMetrics, AddUpToTheSeriesOfTheirNameWhileTheyComeAndGo) {
  const std::string up = R"(sluice_bytes_total{agent="a",direction="up"})";
  Registry registry;
  std::atomic<std::uint64_t> total = 0;
  std::atomic<bool> done = false;
  std::thread reader([&] {
    double last = -1;
    while (!done) {
      const double shown = value(registry.exposition(), up);
      EXPECT_GE(shown, last);
      last = shown;
    }
  });
  on_threads(4, [&](unsigned) {
    for (int i = 0; i < 200; ++i) {
      const auto agent = registry.agent("a");
      for (int n = 0; n < 10; ++n) agent->moved(Direction::up, 1);
      total += agent->totals().bytes_up;
    }
  });
  done = true;
  reader.join();
  EXPECT_EQ(total, 8000U);
  EXPECT_EQ(value(registry.exposition(), up), 8000);
}

TEST(AgentMetrics, CountEveryDecisionOnceInTheSeriesAndInTheTotals) {
  Registry registry;
  std::uint64_t expected = 0;
  const auto agent = registry.agent("a");
  for (const Verdict verdict : {Verdict::allow, Verdict::report, Verdict::deny}) {
    for (std::size_t i = 0; i < reason_count; ++i) {
      const Reason reason{static_cast<std::uint8_t>(i)};
      on_threads(2, [&](unsigned) { agent->decided(verdict, reason); });
      expected += 2;
    }
  }
  agent->decided(Verdict::report, Reason::reported, Reason::never);
  const Totals totals = agent->totals();
  std::uint64_t told = totals.allowed;
  for (std::size_t i = 0; i < reason_count; ++i) told += totals.denied[i] + totals.reported[i];
  EXPECT_EQ(told, expected + 1);
  const std::string page = registry.exposition();
  const std::string series = R"(sluice_decisions_total{agent="a",)";
  EXPECT_EQ(value(page, series + R"(verdict="report",reason="reported"})"), 3);
  EXPECT_EQ(value(page, series + R"(verdict="deny",reason="never"})"), 2);
  EXPECT_EQ(value(page, series + R"(verdict="allow",reason="denied"})"), 2);
  EXPECT_EQ(value(page, series + R"(verdict="deny",reason="proxy_loop"})"), 2);
}

TEST(Registry, ShowsWhatAnAgentThatHasGoneCounted) {
  Registry registry;
  for (int i = 0; i < 3; ++i) {
    const auto agent = registry.agent("a");
    agent->tunnel_opened();
    agent->decided(Verdict::deny, Reason::ech_present);
    agent->dns(DnsOutcome::no_data);
    agent->tunnel_closed(TunnelEnd::closed);
  }
  const std::string page = registry.exposition();
  EXPECT_EQ(value(page, R"(sluice_tunnels{agent="a"})"), 0);
  EXPECT_EQ(value(page, R"(sluice_tunnel_ends_total{end="closed"})"), 3);
  EXPECT_EQ(value(page, R"(sluice_decisions_total{agent="a",verdict="deny",reason="ech_present"})"),
            3);
  EXPECT_EQ(value(page, R"(sluice_dns_queries_total{agent="a",outcome="no_data"})"), 3);
}

TEST(Registry, EscapesTheNameOfAnAgent) {
  Registry registry;
  const auto agent = registry.agent("a\"\\\nb");
  EXPECT_EQ(value(registry.exposition(), R"(sluice_tunnels{agent="a\"\\\nb"})"), 0);
}

}  // namespace
}  // namespace sluice::metrics
