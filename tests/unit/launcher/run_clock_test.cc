#include "launcher/supervision/run_clock.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

using namespace std::chrono_literals;
using Due = RunClock::Due;

constexpr RunClock::Clock::time_point start{};

TEST(TheClockOfARun, SaysWhatIsDueOnceEach) {
  RunClock clock;
  EXPECT_FALSE(clock.next());
  clock.enter(2s, start);
  EXPECT_EQ(clock.next(), start + 2s);
  EXPECT_EQ(clock.take(start + 1s), Due::nothing);
  EXPECT_EQ(clock.take(start + 2s), Due::phase);
  EXPECT_EQ(clock.take(start + 2s), Due::nothing);
  clock.enter(2s, start);
  clock.enter(std::nullopt, start);
  EXPECT_EQ(clock.take(start + 3s), Due::nothing);
}

TEST(TheClockOfARun, GivesGraceAfterATimeoutAndNoneAfterTheEnd) {
  RunClock clock;
  clock.limit_run(10s, start);
  EXPECT_EQ(clock.take(start + 10s), Due::timeout);
  EXPECT_EQ(clock.next(), start + 15s);
  EXPECT_EQ(clock.take(start + 14s), Due::nothing);
  EXPECT_EQ(clock.take(start + 15s), Due::kill);
  clock.limit_run(10s, start);
  clock.begin_grace(start);
  clock.end_run();
  EXPECT_FALSE(clock.next());
}

TEST(TheClockOfARun, IsNotSetBackByASecondSignal) {
  RunClock clock;
  clock.begin_grace(start);
  clock.begin_grace(start + 4s);
  EXPECT_EQ(clock.take(start + 5s), Due::kill);
}

TEST(TheClockOfARun, TellsTheEarliestOfWhatIsComing) {
  RunClock clock;
  clock.enter(9s, start);
  clock.limit_run(3s, start);
  clock.begin_grace(start);
  EXPECT_EQ(clock.next(), start + 3s);
}

}  // namespace
}  // namespace sluice::launcher
