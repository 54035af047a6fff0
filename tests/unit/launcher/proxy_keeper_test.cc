#include "launcher/supervision/proxy_keeper.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(ADyingProxy, IsReplacedTwiceAMinute) {
  using std::chrono::seconds;
  const DeathLimit::Clock::time_point start{};
  DeathLimit limit;
  EXPECT_FALSE(limit.exceeded_by(start));
  EXPECT_FALSE(limit.exceeded_by(start + seconds(30)));
  EXPECT_FALSE(limit.exceeded_by(start + seconds(61)));
  EXPECT_TRUE(limit.exceeded_by(start + seconds(62)));
}

}  // namespace
}  // namespace sluice::launcher
