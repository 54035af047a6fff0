#include "proxy/session/allowance.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using metrics::Direction;

constexpr Allowance::Steady::time_point start{1000s};
constexpr Allowance::Utc::time_point noon{1'767'355'200s};  // 2026-01-02T12:00:00Z

TEST(TheRateOfConnects, IsABucketThatRefillsEvenly) {
  Allowance allowance;
  const allowlists::Rate rate{.count = 5, .per = 1s};
  int taken = 0;
  for (int i = 0; i < 20; ++i) taken += allowance.may_connect(rate, start) ? 1 : 0;
  EXPECT_EQ(taken, 5);
  EXPECT_FALSE(allowance.may_connect(rate, start + 199ms));
  EXPECT_TRUE(allowance.may_connect(rate, start + 200ms));
  EXPECT_FALSE(allowance.may_connect(rate, start + 201ms));
  taken = 0;
  for (int i = 0; i < 20; ++i) taken += allowance.may_connect(rate, start + 1h) ? 1 : 0;
  EXPECT_EQ(taken, 5) << "an idle hour fills the bucket, not more";
}

TEST(ABudget, IsGrantedToTheLastByteAndThenNoMore) {
  Allowance allowance;
  const allowlists::Budget budget{.bytes = 1000, .per = 24h};
  EXPECT_EQ(allowance.take(Direction::up, budget, 600, noon), 600U);
  EXPECT_FALSE(allowance.is_used_up(Direction::up, budget, noon));
  EXPECT_EQ(allowance.take(Direction::up, budget, 600, noon), 400U);
  EXPECT_EQ(allowance.take(Direction::up, budget, 1, noon), 0U);
  EXPECT_TRUE(allowance.is_used_up(Direction::up, budget, noon));
  EXPECT_FALSE(allowance.is_used_up(Direction::down, budget, noon));
}

TEST(ABudget, BeginsAnewWhenItsUtcWindowDoes) {
  Allowance allowance;
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, noon), 1000U);
  EXPECT_EQ(allowance.take(Direction::up, day, 1, noon + 12h - 1s), 0U);
  EXPECT_EQ(allowance.take(Direction::up, day, 1, noon + 12h), 1U);
}

TEST(ABudget, IsNotNewWhenTheClockIsSetBackALittle) {
  Allowances allowances;
  Allowance& allowance = *allowances.of("coder-1");
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  const auto midnight = noon + 12h;
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, midnight + 1s), 1000U);
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, midnight - 1s), 0U);
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, midnight + 1s), 0U) << "nor afterwards";
  Allowances after;
  ASSERT_TRUE(after.restore(allowances.save(midnight - 1s), midnight - 1s));
  EXPECT_EQ(after.of("coder-1")->take(Direction::up, day, 1000, midnight), 0U);
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, midnight + 24h), 1000U);
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, noon - 48h), 1000U)
      << "a clock that was days ahead blocks nobody for days";
}

TEST(ABudget, IsOneWindowsWorthForEachJumpOfTheClock) {
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  Allowance allowance;
  std::uint64_t taken = 0;
  for (const auto now : {noon, noon + 240h, noon, noon + 240h}) {
    for (int i = 0; i < 5; ++i) taken += allowance.take(Direction::up, day, 700, now);
    EXPECT_EQ(allowance.take(Direction::up, day, 1, now), 0U);
  }
  EXPECT_EQ(taken, 4 * day.bytes);
}

TEST(ABudget, ThatGrowsWhileItIsInUseGrantsTheDifference) {
  Allowance allowance;
  EXPECT_EQ(allowance.take(Direction::up, {.bytes = 1000, .per = 1h}, 2000, noon), 1000U);
  EXPECT_EQ(allowance.take(Direction::up, {.bytes = 1500, .per = 1h}, 2000, noon), 500U);
  EXPECT_EQ(allowance.take(Direction::up, {.bytes = 100, .per = 1h}, 2000, noon), 0U);
}

TEST(ABudget, TellsWhatIsSpentInTheWindowOfNowAndWhenTheNextBegins) {
  Allowance allowance;
  EXPECT_FALSE(allowance.uses(noon)[0] || allowance.uses(noon)[1]) << "no budget, no number";
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  allowance.limits.set({.upload = day});
  ASSERT_TRUE(allowance.uses(noon)[0]);
  EXPECT_EQ(allowance.uses(noon)[0]->spent, 0U);
  allowance.take(Direction::up, day, 600, noon);
  const auto uses = allowance.uses(noon + 1h);
  EXPECT_EQ(uses[0]->spent, 600U);
  EXPECT_EQ(uses[0]->limit, 1000U);
  EXPECT_EQ(uses[0]->period, 24h);
  EXPECT_EQ(uses[0]->resets, noon + 12h);
  EXPECT_FALSE(uses[1]);
  const auto tomorrow = allowance.uses(noon + 12h);
  EXPECT_EQ(tomorrow[0]->spent, 0U) << "although nothing has moved since";
  EXPECT_EQ(tomorrow[0]->resets, noon + 36h);
  EXPECT_EQ(allowance.take(Direction::up, day, 1000, noon + 1h), 400U) << "it was only looked at";
}

TEST(ABudget, TellsOfTheOneThatThePolicyHasNow) {
  Allowance allowance;
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  allowance.limits.set({.upload = day});
  allowance.take(Direction::up, day, 600, noon);
  allowance.limits.set({.upload = allowlists::Budget{.bytes = 500, .per = 24h}});
  EXPECT_EQ(allowance.uses(noon)[0]->spent, 600U)
      << "more than there is, since it was made smaller";
  EXPECT_EQ(allowance.uses(noon)[0]->limit, 500U);
  allowance.limits.set({.upload = allowlists::Budget{.bytes = 500, .per = 1h}});
  EXPECT_EQ(allowance.uses(noon)[0]->spent, 0U) << "as take() would begin it";
  EXPECT_EQ(allowance.uses(noon)[0]->resets, noon + 1h);
  allowance.limits.set({});
  EXPECT_FALSE(allowance.uses(noon)[0]);
}

TEST(ABudget, TellsTheSameWindowWhenTheClockIsSetBackALittle) {
  Allowance allowance;
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  allowance.limits.set({.download = day});
  allowance.take(Direction::down, day, 700, noon + 12h + 1s);
  const auto before_midnight = allowance.uses(noon + 12h - 1s)[1];
  EXPECT_EQ(before_midnight->spent, 700U);
  EXPECT_EQ(before_midnight->resets, noon + 36h);
}

TEST(TheBandwidth, IsOneLineForAllConnectionsOfADirection) {
  Allowance allowance;
  EXPECT_EQ(allowance.pace(Direction::up, 1000, 250, start), 0ns);
  EXPECT_EQ(allowance.pace(Direction::up, 1000, 500, start), 0ns);
  EXPECT_EQ(allowance.pace(Direction::up, 1000, 500, start), 500ms);
  EXPECT_EQ(allowance.pace(Direction::down, 1000, 500, start), 0ns);
  EXPECT_EQ(allowance.pace(Direction::up, 1000, 1, start + 10s), 0ns);
}

TEST(Allowances, GoOnWhereTheyWereAfterARestart) {
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  const allowlists::Budget minute{.bytes = 1000, .per = 1min};
  Allowances before;
  before.of("coder-1")->take(Direction::up, day, 700, noon);
  before.of("coder-1")->take(Direction::down, minute, 900, noon);
  before.of("coder-2")->take(Direction::down, day, 0, noon);
  const std::string saved = before.save(noon + 30s);
  EXPECT_EQ(saved,
            "sluice-budgets 1\ncoder-1 upload 86400 20455 700\n"
            "coder-1 download 60 29455920 900\n");
  Allowances after;
  ASSERT_TRUE(after.restore(saved, noon + 2min));
  EXPECT_EQ(after.of("coder-1")->take(Direction::up, day, 1000, noon + 2min), 300U);
  EXPECT_EQ(after.of("coder-1")->take(Direction::down, minute, 1000, noon + 2min), 1000U);
}

TEST(Allowances, TellTheirBudgetsAfterARestartAndWhatAnotherSluicedUsed) {
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  Allowances before;
  before.of("coder-1")->take(Direction::up, day, 700, noon);
  Allowances after;
  ASSERT_TRUE(after.restore(before.save(noon), noon));
  before.tell_all();
  after.of("coder-1")->limits.set({.upload = day});
  EXPECT_EQ(after.of("coder-1")->uses(noon)[0]->spent, 700U);
  before.of("coder-1")->take(Direction::up, day, 50, noon);
  ASSERT_TRUE(after.add(before.take_untold(noon), noon));
  EXPECT_EQ(after.of("coder-1")->uses(noon)[0]->spent, 750U);
}

TEST(Allowances, RefuseAFileThatIsNotTheirs) {
  for (const std::string text :
       {"x\n", "sluice-budgets 2\n", "sluice-budgets 1\ncoder-1 upload 86400 20455\n",
        "sluice-budgets 1\ncoder-1 sideways 86400 20455 1\n",
        "sluice-budgets 1\ncoder-1 upload 0 20455 1\n",
        "sluice-budgets 1\ncoder-1 upload 86400 20455 1x\n",
        "sluice-budgets 1\n../x upload 86400 20455 1\n"}) {
    Allowances allowances;
    EXPECT_FALSE(allowances.restore(text, noon)) << text;
  }
}

TEST(Allowances, OfNamesThatAreNotThereAreForgottenWhenThereAreTooMany) {
  const allowlists::Budget day{.bytes = 1000, .per = 24h};
  Allowances allowances;
  const auto held = allowances.of("coder-1");
  held->take(Direction::up, day, 700, noon);
  allowances.of("coder-2")->take(Direction::up, day, 700, noon);
  for (int i = 0; i < 100'000; ++i) allowances.of("a" + std::to_string(i));
  EXPECT_EQ(allowances.of("coder-1"), held);
  EXPECT_EQ(allowances.of("coder-2")->take(Direction::up, day, 1000, noon), 1000U);
}

TEST(Allowances, AreTheSameForTheSameName) {
  Allowances allowances;
  EXPECT_EQ(allowances.of("coder-1"), allowances.of("coder-1"));
  EXPECT_NE(allowances.of("coder-1"), allowances.of("coder-2"));
}

}  // namespace
}  // namespace sluice::proxy
