#include "metrics/audit.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "base/io.h"
#include "metrics/line_sink.h"
#include "metrics/recent.h"

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;

AuditLine example() {
  AuditLine line;
  line.time = std::chrono::system_clock::time_point(1767323045678ms);
  line.agent = "coder-7";
  line.session = "s-1";
  line.via = Via::connect;
  line.host = "api.example.com";
  line.port = 443;
  line.verdict = Verdict::allow;
  line.reason = Reason::listed;
  line.rule = "policy.yaml:31";
  line.address = "203.0.113.7";
  line.bytes_up = 1234;
  line.bytes_down = 5678;
  line.duration = 87ms;
  line.sni = "api.example.com";
  return line;
}

AuditLine from(std::string agent, Verdict verdict = Verdict::allow) {
  AuditLine line = example();
  line.agent = std::move(agent);
  line.verdict = verdict;
  return line;
}

// A file in memory: what is written stays readable through `reader`.
struct File {
  Fd writer{::memfd_create("audit", MFD_CLOEXEC)};
  Fd reader{::dup(writer.get())};

  std::vector<std::string> lines() const {
    ::lseek(reader.get(), 0, SEEK_SET);
    std::istringstream text(read_fd(reader.get(), "audit", 1 << 26).value());
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }
};

struct Pipe {
  Fd reader;
  Fd writer;
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
};

// Whether so many bytes come to wait in the pipe.
bool holds(const Pipe& pipe, int bytes) {
  int waiting = 0;
  for (int i = 0; i < 6000 && waiting < bytes; ++i) {
    std::this_thread::sleep_for(10ms);
    ::ioctl(pipe.reader.get(), FIONREAD, &waiting);
  }
  return waiting >= bytes;
}

TEST(AuditLine, HasTheDocumentedKeysInTheDocumentedOrder) {
  EXPECT_EQ(to_json(example()),
            R"({"ts":"2026-01-02T03:04:05.678Z","agent":"coder-7","session":"s-1","via":"connect",)"
            R"("host":"api.example.com","port":443,"verdict":"allow","reason":"listed",)"
            R"("would_deny":"","rule":"policy.yaml:31","address":"203.0.113.7","bytes_up":1234,)"
            R"("bytes_down":5678,"ms":87,"sni":"api.example.com","error":""})"
            "\n");
  AuditLine line = from("a", Verdict::report);
  line.via = Via::http;
  line.reason = Reason::reported;
  line.would_deny = Reason::not_listed;
  line.method = "GET";
  line.path = "/x";
  EXPECT_THAT(to_json(line),
              testing::HasSubstr(R"("verdict":"report","reason":"reported",)"
                                 R"("would_deny":"not_listed","rule":"policy.yaml:31",)"
                                 R"("method":"GET","path":"/x","address":)"));
}

TEST(AuditLine, StaysOneLineOfJsonWhateverTheAgentChose) {
  AuditLine line = example();
  line.host = std::string("evil\0.test", 10);
  line.path = "/\"},\n{\"verdict\":\"allow\"\x1b[2J\xff\xe2\x80\xae\\";
  line.method = "G\rET";
  const std::string text = to_json(line);
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  const auto parsed = nlohmann::json::parse(text);
  EXPECT_EQ(parsed["verdict"], "allow");
  EXPECT_EQ(parsed["host"], std::string("evil\0.test", 10));
  EXPECT_EQ(parsed["method"], "G\rET");
}

TEST(AuditLine, TellsTimeInUtcWithMilliseconds) {
  const struct {
    std::chrono::milliseconds since_epoch;
    std::string_view text;
  } cases[] = {{0ms, "1970-01-01T00:00:00.000Z"},
               {1ms, "1970-01-01T00:00:00.001Z"},
               {951782399999ms, "2000-02-28T23:59:59.999Z"},
               {-1ms, "1969-12-31T23:59:59.999Z"}};
  for (const auto& [since_epoch, text] : cases) {
    AuditLine line;
    line.time = std::chrono::system_clock::time_point(since_epoch);
    EXPECT_EQ(to_json(line).substr(7, text.size()), text);
  }
}

TEST(AuditLog, WritesEveryLineInOrderBeforeItIsDestroyed) {
  File file;
  const auto counters = std::make_shared<AuditCounters>();
  {
    AuditLog log(std::move(file.writer), counters);
    for (int i = 0; i < 1000; ++i) log.write(from(std::to_string(i)));
  }
  const auto lines = file.lines();
  ASSERT_EQ(lines.size(), 1000U);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(nlohmann::json::parse(lines[i])["agent"], std::to_string(i));
  }
  EXPECT_EQ(counters->lines, 1000U);
  EXPECT_EQ(counters->dropped, 0U);
}

TEST(AuditLog, KeepsLinesWholeWhenManyThreadsWrite) {
  File file;
  {
    AuditLog log(std::move(file.writer), std::make_shared<AuditCounters>());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&log, t] {
        for (int i = 0; i < 300; ++i) log.write(from(std::to_string(t)));
      });
    }
    for (auto& thread : threads) thread.join();
  }
  const auto lines = file.lines();
  EXPECT_EQ(lines.size(), 1200U);
  for (const auto& line : lines) EXPECT_TRUE(nlohmann::json::accept(line)) << line;
}

TEST(AuditLog, IsOffWithoutAFile) {
  AuditLog log;
  log.write(example());
}

TEST(AuditLog, WithoutASinkTellsOnlyWhatHappenedOfLate) {
  Recent recent;
  const auto counters = std::make_shared<AuditCounters>();
  {
    AuditLog log(std::unique_ptr<AuditSink>(), counters, {.recent = &recent});
    log.write(example());
  }
  EXPECT_EQ(recent.last({}, 5).size(), 1U);
  EXPECT_EQ(counters->lines.load(), 0U);
  EXPECT_EQ(counters->dropped.load(), 0U);
}

TEST(AuditLog, SamplesAFloodOfDenialsAndCountsWhatItLeftOut) {
  File file;
  const auto counters = std::make_shared<AuditCounters>();
  const auto began = std::chrono::steady_clock::now();
  {
    AuditLog log(std::move(file.writer), counters, {.denials_per_second = 5});
    for (int i = 0; i < 3000; ++i) log.write(from("flood", Verdict::deny));
    for (int i = 0; i < 3; ++i) log.write(from("calm", Verdict::deny));
    for (int i = 0; i < 10; ++i) log.write(from("busy", Verdict::allow));
  }
  const auto seconds = static_cast<std::uint64_t>((std::chrono::steady_clock::now() - began) / 1s);
  std::map<std::string, std::uint64_t> written;
  std::uint64_t left_out = 0;
  for (const auto& text : file.lines()) {
    const auto line = nlohmann::json::parse(text);
    if (line["via"] == "event") {
      EXPECT_EQ(line["event"], "denials_left_out");
      EXPECT_EQ(line["agent"], "flood");
      left_out += line["count"].get<std::uint64_t>();
    } else {
      ++written[line["agent"]];
    }
  }
  EXPECT_EQ(written["calm"], 3U);
  EXPECT_EQ(written["busy"], 10U);
  EXPECT_GE(written["flood"], 5U);
  EXPECT_LE(written["flood"], 5 * (seconds + 2));
  EXPECT_EQ(written["flood"] + left_out, 3000U);
  EXPECT_EQ(counters->dropped, 0U);
}

TEST(AuditLog, TellsWhatItLeftOutWithinASecondOrTwo) {
  File file;
  AuditLog log(std::move(file.writer), std::make_shared<AuditCounters>(),
               {.denials_per_second = 1});
  for (int i = 0; i < 50; ++i) log.write(from("flood", Verdict::deny));
  const auto told = [&] {
    const auto lines = file.lines();
    std::uint64_t sum = 0;
    for (const auto& text : lines) {
      const auto line = nlohmann::json::parse(text, nullptr, false);
      if (line.is_discarded()) return false;
      sum += line["via"] == "event" ? line["count"].get<std::uint64_t>() : 1;
    }
    return sum == 50;
  };
  for (int i = 0; i < 1200 && !told(); ++i) std::this_thread::sleep_for(50ms);
  EXPECT_TRUE(told());
}

TEST(AuditLog, NeverWaitsForAReaderAndSaysHowManyLinesWereLost) {
  Pipe pipe;
  const auto counters = std::make_shared<AuditCounters>();
  std::string text;
  {
    AuditLog log(std::move(pipe.writer), counters, {.queue_lines = 100});
    for (int i = 0; i < 5000; ++i) log.write(from(i % 2 == 0 ? "even" : "odd"));
    std::this_thread::sleep_for(50ms);
    log.write(from("fresh"));
    EXPECT_GT(counters->dropped, 0U);
    std::thread([&] {
      std::this_thread::sleep_for(20ms);
      std::array<char, 65536> chunk;
      for (int i = 0; i < 200; ++i) {
        const ssize_t size = ::read(pipe.reader.get(), chunk.data(), chunk.size());
        if (size <= 0) break;
        text.append(chunk.data(), static_cast<std::size_t>(size));
        if (text.find("lines_dropped") != std::string::npos) break;
      }
    }).join();
    ::fcntl(pipe.reader.get(), F_SETFL, O_NONBLOCK);
  }
  EXPECT_THAT(text, testing::HasSubstr(R"("agent":"","via":"event","event":"lines_dropped")"));
}

TEST(AuditLog, LetsOneAgentFillOnlyHalfOfTheQueue) {
  Pipe pipe;
  ::fcntl(pipe.writer.get(), F_SETPIPE_SZ, 4096);
  const auto counters = std::make_shared<AuditCounters>();
  std::string text;
  std::thread reader;
  {
    AuditLog log(std::move(pipe.writer), counters, {.queue_lines = 1000, .flush_limit = 60s});
    AuditLine filler = from("filler");
    filler.path = std::string(20'000, 'x');  // more than the pipe takes
    log.write(filler);
    EXPECT_TRUE(holds(pipe, 4096)) << "who writes there waits";
    for (int i = 0; i < 5000; ++i) log.write(from("hog"));
    const std::uint64_t lost = counters->dropped;
    EXPECT_GE(lost, 4500U);
    for (int i = 0; i < 100; ++i) log.write(from("quiet"));
    EXPECT_EQ(counters->dropped, lost);
    reader = std::thread([&] { text = read_fd(pipe.reader.get(), "pipe", 1 << 26).value(); });
  }
  reader.join();
  EXPECT_THAT(text, testing::HasSubstr(R"("agent":"quiet")"));
}

TEST(AuditLog, GivesUpOnAStuckReaderAfterTheFlushLimit) {
  Pipe pipe;
  const auto counters = std::make_shared<AuditCounters>();
  {
    AuditLog log(std::move(pipe.writer), counters, {.flush_limit = 200ms});
    for (int i = 0; i < 3000; ++i) log.write(from(std::to_string(i)));
    EXPECT_TRUE(holds(pipe, 60'000));
  }
  EXPECT_EQ(counters->lines + counters->dropped, 3000U);
  EXPECT_GT(counters->lines, 100U);
}

TEST(AuditLog, SurvivesAReaderThatWentAway) {
  Pipe pipe;
  const auto counters = std::make_shared<AuditCounters>();
  pipe.reader.reset();
  {
    AuditLog log(std::move(pipe.writer), counters);
    for (int i = 0; i < 10; ++i) log.write(example());
  }
  EXPECT_EQ(counters->lines, 0U);
  EXPECT_EQ(counters->dropped, 10U);
}

TEST(AuditLog, CountsLinesThatAFullDiskRefuses) {
  const auto counters = std::make_shared<AuditCounters>();
  {
    AuditLog log(Fd(::open("/dev/full", O_WRONLY | O_APPEND | O_CLOEXEC)), counters);
    for (int i = 0; i < 10; ++i) log.write(example());
  }
  EXPECT_EQ(counters->lines, 0U);
  EXPECT_EQ(counters->dropped, 10U);
}

// RLIMIT_FSIZE answers a short write and then EFBIG, as a disk that fills up does with ENOSPC.
TEST(LineSink, EndsALineThatWasCutOffBeforeItWritesTheNext) {
  File file;
  LineSink sink(std::move(file.writer));
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::size_t first = sink.write("one\ntwo\nthree\n");
  const std::size_t second = sink.write("four\n");
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_EQ(first, 2U);
  EXPECT_EQ(second, 0U);
  EXPECT_EQ(sink.write("five\n"), 1U);
  EXPECT_EQ(file.lines(), (std::vector<std::string>{"one", "two", "th", "five"}));
}

}  // namespace
}  // namespace sluice::metrics
