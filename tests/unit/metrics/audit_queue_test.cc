#include "metrics/audit_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "metrics/audit_line.h"
#include "tests/unit/allowlists/allocations.h"

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;

AuditLine from(std::string agent, std::uint64_t number = 0) {
  AuditLine line;
  line.agent = std::move(agent);
  line.via = Via::connect;
  line.verdict = Verdict::allow;
  line.reason = Reason::listed;
  line.bytes_up = number;
  return line;
}

std::vector<AuditLine> lines_of(const AuditRecords& records) {
  std::vector<AuditLine> lines;
  AuditLine line;
  records.for_each(line, [&] { lines.push_back(line); });
  return lines;
}

// A log into a file in memory.
struct Logged {
  explicit Logged(AuditOptions options = {}) : log(Fd(::dup(file.get())), counters, options) {}

  // Lines in the file, in order.
  std::vector<nlohmann::json> lines() const {
    std::ifstream in("/proc/self/fd/" + std::to_string(file.get()));
    std::vector<nlohmann::json> lines;
    for (std::string text; std::getline(in, text);) lines.push_back(nlohmann::json::parse(text));
    return lines;
  }
  bool wait_for_lines(std::uint64_t count) const {
    for (int i = 0; i < 6000 && counters->lines < count; ++i) std::this_thread::sleep_for(10ms);
    return counters->lines == count;
  }

  Fd file{::memfd_create("audit", MFD_CLOEXEC)};
  std::shared_ptr<AuditCounters> counters = std::make_shared<AuditCounters>();
  AuditLog log;
};

TEST(AuditRecords, GiveBackEveryFieldOfEveryLineInOrder) {
  AuditLine full = from("coder-7", 1234);
  full.time = std::chrono::system_clock::time_point(1767323045678ms);
  full.session = "s-1";
  full.host = std::string("evil\0.test", 10);
  full.port = 443;
  full.verdict = Verdict::report;
  full.reason = Reason::reported;
  full.would_deny = Reason::never;
  full.rule = "policy.yaml:31";
  full.method = "GET";
  full.path = std::string(200'000, 'p');
  full.address = "203.0.113.7";
  full.bytes_down = 5678;
  full.duration = 87ms;
  full.sni = "sni.example.com";
  full.error = "e";
  AuditRecords records;
  std::vector<std::string> pushed;
  for (int i = 0; i < 3000; ++i) {
    const AuditLine line = i == 1500 ? full : from(std::to_string(i), 7);
    records.push(line);
    pushed.push_back(to_json(line));
  }
  std::vector<std::string> read;
  for (const AuditLine& line : lines_of(records)) read.push_back(to_json(line));
  EXPECT_EQ(read, pushed);
  records.clear();
  EXPECT_THAT(lines_of(records), testing::IsEmpty());
}

TEST(AuditQueue, GivesLinesOfOneAgentUntilHalfOfItIsFull) {
  AuditQueue queue({.queue_lines = 9});
  int kept = 0;
  for (int i = 0; i < 20; ++i) kept += queue.put(from("hog")) ? 1 : 0;
  EXPECT_EQ(kept, 5);
  for (const auto* agent : {"a", "b", "c", "d"}) EXPECT_TRUE(queue.put(from(agent)));
  EXPECT_FALSE(queue.put(from("e")));
  AuditBatch batch;
  queue.take(batch);
  EXPECT_EQ(batch.lines, 9U);
  EXPECT_TRUE(queue.put(from("hog")));
}

TEST(AuditQueue, BoundsTheBytesOfAllAgentsAndOfEachOne) {
  const std::size_t one = weight(from("a"));
  AuditQueue queue({.queue_bytes = 8 * one});
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.put(from("a")));
  EXPECT_FALSE(queue.put(from("a")));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.put(from("b")));
  EXPECT_FALSE(queue.put(from("c")));
}

TEST(AuditQueue, TakesNoMemoryForALineOfAnAgentThatItKnows) {
  AuditQueue queue({.collect = 0ms});
  AuditBatch batch;
  AuditLine line = from("an agent whose name is long");
  line.host = "a.host.whose.name.is.long.example.com";
  const auto rounds = [&] {
    for (int i = 0; i < 500; ++i) {
      EXPECT_TRUE(queue.put(line));
      if (i % 50 == 0) queue.take(batch);
    }
  };
  rounds();
  const std::size_t before = allocations();
  rounds();
  EXPECT_EQ(allocations() - before, 0U);
}

TEST(AuditQueue, IsTakenBeforeTheCollectingEndsWhenAQuarterIsFull) {
  AuditQueue queue({.queue_lines = 40, .collect = std::chrono::hours(1)});
  AuditBatch batch;
  queue.put(from("a"));
  queue.take(batch);
  std::thread writer([&] { queue.take(batch); });
  for (int i = 0; i < 10; ++i) queue.put(from("b"));
  writer.join();
  EXPECT_GE(batch.lines, 10U);
}

TEST(AuditQueue, StopsCollectingWhenItIsStopped) {
  AuditQueue queue({.collect = std::chrono::hours(1)});
  AuditBatch batch;
  queue.put(from("a"));
  queue.take(batch);
  queue.put(from("b"));
  std::thread writer([&] { queue.take(batch); });
  queue.stop();
  writer.join();
  EXPECT_TRUE(batch.last);
  EXPECT_EQ(batch.lines, 1U);
}

TEST(AuditLog, WritesALoneLineWithoutAnotherOneComing) {
  Logged logged;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    logged.log.write(from("a"));
    EXPECT_TRUE(logged.wait_for_lines(i));
    if (i == 2) std::this_thread::sleep_for(50ms);  // longer than it collects
  }
}

TEST(AuditLog, WritesTheLineThatFollowsAfterItHasCollected) {
  Logged logged({.collect = 100ms});
  logged.log.write(from("a"));
  EXPECT_TRUE(logged.wait_for_lines(1));
  logged.log.write(from("b"));
  EXPECT_TRUE(logged.wait_for_lines(2));
}

TEST(AuditLog, KeepsTheLinesOfEachThreadInOrder) {
  constexpr std::uint64_t each = 2000;
  Logged logged;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < each; ++i) {
        logged.log.write(from(std::to_string(t), i));
        if (i % 100 == 0) std::this_thread::sleep_for(1ms);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  ASSERT_TRUE(logged.wait_for_lines(4 * each));
  std::map<std::string, std::uint64_t> next;
  for (const auto& line : logged.lines()) EXPECT_EQ(line["bytes_up"], next[line["agent"]]++);
  for (const auto& [agent, count] : next) EXPECT_EQ(count, each) << agent;
}

TEST(AuditLog, CountsEveryLineOfManyThreadsAsWrittenOrDropped) {
  const auto counters = std::make_shared<AuditCounters>();
  const Fd file(::memfd_create("audit", MFD_CLOEXEC));
  std::atomic<std::uint64_t> lines = 0;
  {
    AuditLog log(Fd(::dup(file.get())), counters, {.queue_lines = 20});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 3000; ++i, ++lines) log.write(from(std::to_string(i % 3)));
      });
    }
    for (auto& thread : threads) thread.join();
  }
  std::uint64_t about_gaps = 0;
  std::ifstream in("/proc/self/fd/" + std::to_string(file.get()));
  for (std::string text; std::getline(in, text);) {
    about_gaps += text.find("lines_dropped") != text.npos ? 1 : 0;
  }
  EXPECT_EQ(counters->lines - about_gaps + counters->dropped, lines);
}

}  // namespace
}  // namespace sluice::metrics
