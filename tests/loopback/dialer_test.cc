#include "proxy/egress/dialer.h"

#include <gmock/gmock.h>

#include "proxy/egress/happy_eyeballs.h"
#include "tests/loopback/dialling.h"

namespace sluice::proxy {
namespace {

using testing::IsEmpty;

TEST(Dialer, PrefersIPv6AndLeavesTheOtherAddressesAlone) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("127.0.0.1 many.test\n::1 many.test\n127.0.0.2 many.test\n");
  for (const char* address : {"127.0.0.1", "127.0.0.2", "::1"}) {
    world.listen(address, Origin::answers);
  }
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "::1");
  EXPECT_EQ(ended.dialled->socket.remote_endpoint().address().to_string(), "::1");
  EXPECT_THAT(ended.dialled->why, IsEmpty());
  EXPECT_EQ(world.accepted("::1"), 1);
  EXPECT_EQ(world.accepted("127.0.0.1"), 0);
  EXPECT_EQ(world.accepted("127.0.0.2"), 0);
}

TEST(Dialer, TriesTheNextAddressAQuarterOfASecondAfterOneThatSwallowsPackets) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("::1 many.test\n127.0.0.1 many.test\n127.0.0.2 many.test\n");
  world.listen("::1", Origin::swallows);
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.2", Origin::answers);
  world.prepare();
  const auto before = open_descriptors();
  Ended ended = world.dial();  // a share of its timeout each would be hours
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.2");
  EXPECT_GE(ended.took, 2 * connection_attempt_delay);
  EXPECT_EQ(open_descriptors(), before + 1) << "an attempt that lost is still open";
  ended.dialled.reset();
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, TriesTheNextAddressAtOnceWhenOneFails) {
  std::string hosts;
  for (int i = 1; i <= 8; ++i) hosts += fmt::format("127.0.0.{} many.test\n", i);
  Addresses world(hosts);
  world.listen("127.0.0.8", Origin::answers);
  world.attempt_delay = far_away;
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.8");
}

TEST(Dialer, AFailureStartsTheNextWhileAnEarlierAttemptStillWaits) {
  Addresses world(
      "127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n"
      "127.0.0.4 many.test\n127.0.0.5 many.test\n127.0.0.6 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.6", Origin::answers);
  world.attempt_delay = 3s;
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.6");
  EXPECT_GE(ended.took, world.attempt_delay);
  EXPECT_LT(ended.took, 5 * world.attempt_delay) << "one of them, not five";
}

TEST(Dialer, LetsASlowAttemptWinThatBeganBeforeTheOthers) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.2", Origin::swallows);
  Ended ended;
  world.begin(far_away, far_away, "many.test", ended);
  world.run_for(500ms);
  world.empty_backlog("127.0.0.1");  // its SYN comes again after a second
  world.run_until([&] { return ended.dialled.has_value(); });
  ASSERT_TRUE(ended.dialled && ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.1");
}

TEST(Dialer, NeverDialsAnAddressThatTheGuardRefuses) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("::1 many.test\n127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n",
                  "127.0.0.2 127.0.0.3");
  for (const char* address : {"::1", "127.0.0.1", "127.0.0.3"}) {
    world.listen(address, Origin::answers);
  }
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.3");
  EXPECT_EQ(ended.dialled->rule, "default");
  EXPECT_EQ(world.accepted("::1"), 0);
  EXPECT_EQ(world.accepted("127.0.0.1"), 0);
  EXPECT_EQ(world.accepted("127.0.0.3"), 1);
}

TEST(Dialer, JudgesAnAddressJustBeforeItIsDialled) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.2", Origin::answers);
  Ended ended;
  world.prepare();
  const auto before = open_descriptors();
  world.begin(1s, far_away, "many.test", ended);
  world.run_until_one([&] { return open_descriptors() > before; });
  world.make_own("127.0.0.2");  // the guard would have allowed it when the dial began
  world.run_until([&] { return ended.dialled.has_value(); });
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_timeout");
  EXPECT_EQ(ended.address(), "127.0.0.1");
  EXPECT_EQ(world.accepted("127.0.0.2"), 0);
}

TEST(Dialer, TellsTheFirstRefusalWhereNoAddressMayBeDialled) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("127.0.0.1 many.test\n::1 many.test\n", "127.0.0.9");
  for (const char* address : {"::1", "127.0.0.1"}) world.listen(address, Origin::answers);
  const Ended ended = world.dial();
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "address_private");
  EXPECT_EQ(ended.address(), "::1");
  EXPECT_EQ(ended.dialled->why, "the name leads to ::1");
  EXPECT_EQ(world.accepted("::1") + world.accepted("127.0.0.1"), 0);
}

TEST(Dialer, TellsTheFirstFailureWhereNoAddressAnswers) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n",
                  "127.0.0.2 127.0.0.3");
  const Ended ended = world.dial();
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_refused");
  EXPECT_EQ(ended.dialled->why, "127.0.0.2: Connection refused");
  EXPECT_EQ(ended.address(), "127.0.0.2");
}

TEST(Dialer, DialsNoMoreThanEightAddresses) {
  std::string hosts;
  for (int i = 1; i <= 12; ++i) hosts += fmt::format("127.0.0.{} many.test\n", i);
  Addresses refusing(hosts);
  refusing.listen("127.0.0.9", Origin::answers);
  const Ended ended = refusing.dial();
  EXPECT_EQ(ended.reason(), "connect_refused");
  EXPECT_EQ(refusing.accepted("127.0.0.9"), 0);
  // One that was refused was not dialled and does not count.
  Addresses guarded(hosts, "127.0.0.2/31 127.0.0.4/30 127.0.0.8/31");
  guarded.listen("127.0.0.9", Origin::answers);
  EXPECT_EQ(guarded.dial().address(), "127.0.0.9");
}

TEST(Dialer, SaysTimeoutOnlyWhenTheTimeRanOut) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n");
  world.listen("127.0.0.2", Origin::swallows);
  world.listen("127.0.0.3", Origin::swallows);
  world.prepare();
  const auto before = open_descriptors();
  const Ended ended = world.dial(700ms);
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_timeout");
  EXPECT_EQ(ended.dialled->why, "127.0.0.2: Connection timed out");
  EXPECT_EQ(ended.address(), "127.0.0.2");
  EXPECT_GE(ended.took, 700ms);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, LeavesNoAttemptBehindWhenTheCallerGivesUp) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n");
  for (const char* address : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
    world.listen(address, Origin::swallows);
  }
  world.prepare();
  const auto before = open_descriptors();
  const Ended ended = world.dial_and_give_up(400ms);
  EXPECT_FALSE(ended.dialled.has_value());
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, LeavesNoAttemptBehindWhenItsThreadEnds) {
  const auto before = open_descriptors();
  {
    Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n");
    for (const char* address : {"127.0.0.1", "127.0.0.2"}) world.listen(address, Origin::swallows);
    world.prepare();
    const auto prepared = open_descriptors();
    Ended ended;
    world.begin(far_away, far_away, "many.test", ended);
    world.run_until([&] { return open_descriptors() == prepared + 2; });  // both are under way
    world.destroy_io();
    EXPECT_FALSE(ended.dialled.has_value());
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, DialsALiteralAddressAlone) {
  Addresses world("127.0.0.1 many.test\n", "127.0.0.5");
  world.listen("127.0.0.5", Origin::answers);
  const Ended allowed = world.dial(far_away, "127.0.0.5");
  ASSERT_TRUE(allowed.dialled && allowed.dialled->connected);
  EXPECT_EQ(world.accepted("127.0.0.5"), 1);
  const Ended refused = world.dial(far_away, "127.0.0.6");
  EXPECT_FALSE(refused.dialled->connected);
  EXPECT_EQ(refused.reason(), "address_private");
  EXPECT_THAT(refused.dialled->why, IsEmpty());
}

}  // namespace
}  // namespace sluice::proxy
