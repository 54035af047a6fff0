// Idle connections to origins, as they are kept: bounded, found again, and closed as soon as they
// are good for nothing.
#include <gmock/gmock.h>

#include "tests/loopback/pooling.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

TEST(OriginPool, ClosesAConnectionAsSoonAsItsOriginClosesOrSpeaksUnasked) {
  for (const bool speaks : {true, false}) {
    Reloading bench;
    auto [ours, theirs] = connected_pair(bench.worker->io);
    const Connected what{target("allowed.test:80"), IpAddress::v4(0x7f000001), {}};
    bench.worker->origins.park(bench.agent, {std::move(ours), what});
    bench.run_for(300ms);
    EXPECT_EQ(bench.worker->origins.size(), 1U);
    if (speaks) {
      asio::write(theirs, asio::buffer("HTTP/1.1 408 ", 13));
    } else {
      theirs.shutdown(Socket::shutdown_send);
    }
    bench.run_until([&] { return bench.worker->origins.size() == 0; });
    char byte = 0;
    ErrorCode error;
    theirs.read_some(asio::buffer(&byte, 1), error);
    EXPECT_TRUE(error) << "and it is closed, not only forgotten";
  }
}

TEST(OriginPool, DoesNotHandOutAConnectionThatClosedAMomentAgo) {
  Reloading bench;
  auto [ours, theirs] = connected_pair(bench.worker->io);
  Fd watched(::dup(ours.native_handle()));
  const Connected what{target("allowed.test:80"), IpAddress::v4(0x7f000001), {}};
  bench.worker->origins.park(bench.agent, {std::move(ours), what});
  theirs.close();  // and no handler has run since
  ASSERT_TRUE(can_be_read(watched.get(), patience));
  watched.reset();
  EXPECT_FALSE(bench.worker->origins.take(*bench.agent, what.target, 30s));
  EXPECT_EQ(bench.worker->origins.size(), 0U);
}

TEST(OriginPool, LeavesATakenConnectionAlone) {
  Reloading bench;
  auto [ours, theirs] = connected_pair(bench.worker->io);
  const Connected what{target("allowed.test:80"), IpAddress::v4(0x7f000001), {}};
  bench.worker->origins.park(bench.agent, {std::move(ours), what});
  bench.run_for(300ms);  // watched now
  auto taken = bench.worker->origins.take(*bench.agent, what.target, 30s);
  ASSERT_TRUE(taken);
  asio::write(theirs, asio::buffer("x", 1));
  ASSERT_TRUE(can_be_read(taken->socket.native_handle(), patience));
  bench.run_for(300ms);
  EXPECT_TRUE(taken->socket.is_open());
  char byte = 0;
  EXPECT_EQ(taken->socket.read_some(asio::buffer(&byte, 1)), 1U);
  bench.worker->origins.drop(nullptr);
  EXPECT_TRUE(taken->socket.is_open());
}

TEST(OriginPool, HoldsItsBoundsAndLetsTheOldestGo) {
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {.per_target = 2, .per_agent = 3, .all = 4, .idle_life = 30s});
  std::vector<Socket> origins;
  const auto park = [&](const std::shared_ptr<Agent>& agent, std::string_view where) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    origins.push_back(std::move(theirs));
    pool.park(agent, {std::move(ours), {target(where), IpAddress::v4(0x7f000001), {}}});
  };
  const auto open = [&](std::size_t which) { return !can_be_read(origins[which].native_handle()); };
  const auto closed = [&](std::size_t which) {
    return can_be_read(origins[which].native_handle(), patience);
  };
  const auto agent_of = [&](const std::string& name) {
    return std::make_shared<Agent>(name, policy_of("version: 1\n"), bench.registry.agent(name),
                                   std::make_shared<const Fd>());
  };
  const auto a = agent_of("a");
  const auto b = agent_of("b");
  for (int i = 0; i < 3; ++i) park(a, "one.test:80");
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_TRUE(closed(0));
  EXPECT_TRUE(open(1));
  park(a, "two.test:80");
  park(a, "three.test:80");
  EXPECT_EQ(pool.size(), 3U);
  EXPECT_TRUE(closed(1));
  park(b, "one.test:80");
  park(b, "two.test:80");
  EXPECT_EQ(pool.size(), 4U);
  EXPECT_TRUE(closed(2)) << "another agent's, but the oldest of all";
  EXPECT_FALSE(pool.take(*a, target("one.test:80"), 30s));
  EXPECT_TRUE(pool.make_room());
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_TRUE(pool.take(*b, target("two.test:80"), 30s));
  pool.drop(b.get());
  EXPECT_FALSE(pool.make_room());
}

TEST(OriginPool, KeepsLessWhereDescriptorsAreFew) {
  const OriginPool::Bounds few = OriginPool::Bounds().within(9);
  EXPECT_EQ(few.all, 9U);
  EXPECT_EQ(few.per_agent, 5U) << "one agent leaves room for others";
  EXPECT_EQ(OriginPool::Bounds().within(0).all, 1U);
  EXPECT_EQ(OriginPool::Bounds().within(1'000'000).all, OriginPool::Bounds().all);
  Reloading bench;
  EXPECT_LE(bench.worker->origins.bounds().all, OriginPool::Bounds().all);
}

TEST(OriginPool, FindsEachOfManyTargetsAgainAndNoOther) {
  constexpr int targets = 150;
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {});
  const auto name = [](int i) {
    return target(fmt::format("host{}.test:{}", i % 75, 80 + i / 75));
  };
  std::vector<std::uint16_t> ports;
  std::vector<Socket> origins;
  for (int i = 0; i < targets; ++i) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    ports.push_back(ours.local_endpoint().port());
    origins.push_back(std::move(theirs));
    pool.park(bench.agent, {std::move(ours), {name(i), IpAddress::v4(0x7f000001), {}}});
  }
  EXPECT_EQ(pool.size(), std::size_t{targets});
  EXPECT_FALSE(pool.take(*bench.agent, target("host0.test:82"), 30s));
  EXPECT_FALSE(pool.take(*bench.agent, target("127.0.0.1:80"), 30s));
  for (int i = 0; i < targets; ++i) {
    const int which = i * 7 % targets;
    const auto kept = pool.take(*bench.agent, name(which), 30s);
    ASSERT_TRUE(kept) << which;
    EXPECT_EQ(kept->connected.target, name(which));
    EXPECT_EQ(kept->socket.local_endpoint().port(), ports[static_cast<std::size_t>(which)]);
    EXPECT_FALSE(pool.take(*bench.agent, name(which), 30s)) << "it is given once";
  }
  EXPECT_EQ(pool.size(), 0U);
}

TEST(OriginPool, GivesTheOneThatWasParkedLast) {
  Reloading bench;
  OriginPool& pool = bench.worker->origins;
  std::vector<std::uint16_t> ports;
  std::vector<Socket> origins;
  for (int i = 0; i < 3; ++i) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    ports.push_back(ours.local_endpoint().port());
    origins.push_back(std::move(theirs));
    pool.park(bench.agent, {std::move(ours), {target("one.test:80"), {}, {}}});
  }
  for (const std::size_t which : {2, 1, 0}) {
    const auto kept = pool.take(*bench.agent, target("one.test:80"), 30s);
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->socket.local_endpoint().port(), ports[which]);
  }
}

TEST(OriginPool, UsesNoConnectionAgainBeyondItsAge) {
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {});
  const auto park = [&](Clock::duration age) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    Connected what{target("one.test:80"), {}, {}, wheel.now() - age};
    pool.park(bench.agent, {std::move(ours), std::move(what)});
    return std::move(theirs);
  };
  const Socket old = park(pool.bounds().oldest);
  EXPECT_EQ(pool.size(), 0U);
  // Kept while it was young enough, and found when it is not any more.
  const Socket young = park(pool.bounds().oldest - 250ms);
  EXPECT_EQ(pool.size(), 1U);
  const Clock::time_point later = Clock::now() + 500ms;
  spawn(bench.worker->io, wheel.run());
  bench.run_until([&] { return wheel.now() >= later; });
  EXPECT_EQ(pool.size(), 1U);
  EXPECT_FALSE(pool.take(*bench.agent, target("one.test:80"), 30s));
  EXPECT_EQ(pool.size(), 0U);
  bench.worker->io.stop();
}

TEST(OriginPool, ClosesWhatNobodyUsesForItsIdleLife) {
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {.idle_life = 500ms});
  auto [ours, theirs] = connected_pair(bench.worker->io);
  pool.park(bench.agent, {std::move(ours), {target("one.test:80"), {}, {}}});
  const auto parked = wheel.now();
  spawn(bench.worker->io, wheel.run());
  bench.run_until([&] { return pool.size() == 0; });
  EXPECT_GE(Clock::now() - parked, 500ms);
  bench.worker->io.stop();
}

}  // namespace
}  // namespace sluice::proxy
