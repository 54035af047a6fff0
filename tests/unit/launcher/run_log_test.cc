#include "launcher/sessions/run_log.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "base/io.h"
#include "launcher/sessions/run_log_reader.h"

namespace sluice::launcher {
namespace {

using State = RunStatus::State;

class ALog : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/sluice-log-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    state_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(state_); }

  RunLog begin(std::uint64_t half = log_half, std::int64_t since = 1000) {
    RunStatus status;
    status.agent = "coder-1";
    status.since = since;
    auto log = RunLog::begin(state_, status, half);
    EXPECT_TRUE(log) << to_string(log.error());
    return log ? std::move(*log) : RunLog();
  }
  RunLogReader reader() { return std::move(*RunLogReader::open(state_, "coder-1")); }
  static std::string all(RunLogReader& reader) {
    std::string text;
    for (;;) {
      const auto more = reader.read();
      if (!more || more->empty()) return text;
      text += *more;
    }
  }

  std::string state_;
};

TEST_F(ALog, KeepsTheNewestOfWhatIsWritten) {
  RunLog log = begin(8);
  for (const char* words : {"aaaa", "bbbb", "cccc", "dddd", "ee"}) log.append(words);
  RunLogReader now = reader();
  EXPECT_EQ(all(now), "ccccddddee");
  log.append("ffffff");
  log.append("g");
  EXPECT_EQ(all(now), "ffffffg");
  EXPECT_FALSE(now.has_missed());
  RunLogReader later = reader();
  EXPECT_EQ(all(later), "eeffffffg");
}

TEST_F(ALog, TellsAReaderThatWasTooSlow) {
  RunLog log = begin(4);
  log.append("aaaa");
  RunLogReader slow = reader();
  for (const char* words : {"bbbb", "cccc", "dddd"}) log.append(words);
  EXPECT_EQ(all(slow), "aaaaccccdddd");
  EXPECT_TRUE(slow.has_missed());
  EXPECT_FALSE(slow.has_missed());
}

TEST_F(ALog, SaysWhetherItsRunLastsAndHowItEnded) {
  EXPECT_FALSE(read_record(state_, "coder-1").value());
  RunLog log = begin();
  EXPECT_TRUE(read_record(state_, "coder-1").value()->lasts);
  EXPECT_TRUE(ended_runs(state_).value().empty());
  RunStatus again;
  again.agent = "coder-1";
  EXPECT_FALSE(RunLog::begin(state_, again));
  ASSERT_TRUE(log.end(State::ended, 7));
  log = RunLog();
  const auto runs = ended_runs(state_).value();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].state, State::ended);
  EXPECT_EQ(runs[0].status, 7);
}

TEST_F(ALog, WithoutAnEndIsOfARunThatWasKilled) {
  begin().append("words");
  EXPECT_EQ(ended_runs(state_).value().at(0).state, State::killed);
}

TEST_F(ALog, OfAnEarlierRunMakesRoomForTheNext) {
  begin().append("earlier");
  RunLog log = begin();
  log.append("later");
  RunLogReader now = reader();
  EXPECT_EQ(all(now), "later");
}

TEST_F(ALog, GoesSevenDaysAfterTheEndAndNotBefore) {
  constexpr std::int64_t week = std::int64_t{7} * 24 * 3600 * 1000;
  begin().append("words");
  remove_old_logs(state_, 1000 + week - 1);
  EXPECT_EQ(logged_agents(state_).value().size(), 1U);
  const RunLog lasting = begin();
  remove_old_logs(state_, 1000 + week + 1);
  EXPECT_EQ(logged_agents(state_).value().size(), 1U);
}

TEST_F(ALog, OfARunThatLastsIsNeverOld) {
  constexpr std::int64_t week = std::int64_t{7} * 24 * 3600 * 1000;
  { const RunLog over = begin(); }
  remove_old_logs(state_, 1000 + week);
  EXPECT_TRUE(std::filesystem::is_empty(state_ + "/sluice/logs"));
}

TEST_F(ALog, CountsWhatADiskWithoutRoomDoesNotTake) {
  RunLog log = begin(4);
  log.append("aaaa");
  // In the place of the next file.
  std::filesystem::create_directory(state_ + "/sluice/logs/coder-1.old");
  std::filesystem::create_directory(state_ + "/sluice/logs/coder-1.old/x");
  log.append("bbb");
  EXPECT_EQ(log.lost_bytes(), 3U);
}

}  // namespace
}  // namespace sluice::launcher
