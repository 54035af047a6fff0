#include "proxy/wheel.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <deque>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

class WheelTest : public testing::Test {
 protected:
  WheelTest() { asio::co_spawn(io_, wheel_.run(), asio::detached); }

  // Until it has come; at most a minute.
  bool comes(const Deadline& deadline) {
    const auto until = Clock::now() + 60s;
    while (!deadline.expired() && Clock::now() < until) io_.run_one_for(100ms);
    return deadline.expired();
  }
  void let_ticks_pass(int count) {
    for (int i = 0; i < count; ++i) {
      const Clock::time_point before = wheel_.now();
      while (wheel_.now() == before) io_.run_one_for(100ms);
    }
  }

  asio::io_context io_{1};
  Wheel wheel_{io_};
  Socket none_{io_};
  Deadline deadline_{wheel_, none_};
};

TEST_F(WheelTest, LetsADeadlineComeNotBeforeItsTime) {
  const Clock::time_point began = Clock::now();
  deadline_.arm(300ms);
  EXPECT_TRUE(comes(deadline_));
  EXPECT_GE(Clock::now() - began, 300ms);
}

TEST_F(WheelTest, LetsOneThatWasPutOffComeLater) {
  const Clock::time_point began = Clock::now();
  deadline_.arm(1ms);
  deadline_.arm(600ms);
  let_ticks_pass(2);
  deadline_.arm(600ms);
  EXPECT_TRUE(comes(deadline_));
  EXPECT_GE(Clock::now() - began, 700ms);
}

TEST_F(WheelTest, LetsOneThatWasBroughtForwardComeEarlier) {
  deadline_.arm(1h);
  let_ticks_pass(1);
  deadline_.arm(1ms);
  EXPECT_TRUE(comes(deadline_));
}

TEST_F(WheelTest, NeverLetsADisarmedOneCome) {
  Deadline other(wheel_, none_);
  deadline_.arm(1ms);
  deadline_.disarm();
  other.arm(200ms);
  EXPECT_TRUE(comes(other));
  EXPECT_FALSE(deadline_.expired());
}

TEST_F(WheelTest, LetsOneComeAgainUntilItIsDisarmed) {
  deadline_.arm(1ms);
  EXPECT_TRUE(comes(deadline_));
  EXPECT_TRUE(deadline_.is_linked());
  deadline_.arm(1ms);
  EXPECT_FALSE(deadline_.expired());
  EXPECT_TRUE(comes(deadline_));
  deadline_.disarm();
  EXPECT_FALSE(deadline_.is_linked());
}

TEST_F(WheelTest, LetsNothingWaitBeyondItsEnd) {
  deadline_.never_beyond(Clock::now() + 100ms);
  deadline_.arm(1h);
  EXPECT_TRUE(comes(deadline_));
  EXPECT_TRUE(deadline_.is_beyond());
}

// Hundreds of slots, and more deadlines than slots.
TEST_F(WheelTest, LetsEachOfManyCome) {
  std::deque<Deadline> many;
  for (int i = 0; i < 2000; ++i) {
    many.emplace_back(wheel_, none_).arm(std::chrono::milliseconds(i % 700));
  }
  for (const Deadline& one : many) EXPECT_TRUE(comes(one));
}

}  // namespace
}  // namespace sluice::proxy
