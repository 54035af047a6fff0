// Names with one address, which need no race.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include "tests/loopback/dialling.h"

namespace sluice::proxy {
namespace {

TEST(Dialer, GivesAnOnlyAddressTheConnectTimeout) {
  Addresses world("127.0.0.1 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.prepare();
  const auto before = open_descriptors();
  const Ended ended = world.dial(700ms);
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_timeout");
  EXPECT_EQ(ended.dialled->why, "127.0.0.1: Connection timed out");
  EXPECT_EQ(ended.address(), "127.0.0.1");
  EXPECT_GE(ended.took, 700ms);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, WaitsForAnOnlyAddressThatAnswersLate) {
  Addresses world("127.0.0.1 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  Ended ended;
  world.begin(far_away, far_away, "many.test", ended);
  world.run_for(300ms);
  EXPECT_FALSE(ended.dialled.has_value());
  world.empty_backlog("127.0.0.1");  // its SYN comes again after a second
  world.run_until([&] { return ended.dialled.has_value(); });
  EXPECT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.dialled->socket.remote_endpoint().address().to_string(), "127.0.0.1");
}

TEST(Dialer, TellsWhyAnOnlyAddressFailedOrWasRefused) {
  Addresses closed("127.0.0.1 many.test\n");
  const Ended failed = closed.dial();
  EXPECT_EQ(failed.reason(), "connect_refused");
  EXPECT_EQ(failed.dialled->why, "127.0.0.1: Connection refused");
  Addresses guarded("127.0.0.1 many.test\n", "127.0.0.9");
  guarded.listen("127.0.0.1", Origin::answers);
  const Ended refused = guarded.dial();
  EXPECT_EQ(refused.reason(), "address_private");
  EXPECT_EQ(refused.dialled->why, "the name leads to 127.0.0.1");
  EXPECT_EQ(guarded.accepted("127.0.0.1"), 0);
}

TEST(Dialer, LeavesNoOnlyAttemptBehindWhenItIsCancelled) {
  Addresses world("127.0.0.1 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.prepare();
  const auto before = open_descriptors();
  const Ended ended = world.dial_and_give_up(400ms);
  EXPECT_FALSE(ended.dialled.has_value());
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, EndsTheWaitForAnOnlyAddressWhenTheAgentIsGone) {
  Addresses world("127.0.0.1 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.prepare();
  const auto before = open_descriptors();
  GiveUp give_up;
  world.give_up = &give_up;
  Ended ended;
  world.begin(far_away, far_away, "many.test", ended);
  world.run_for(100ms);
  EXPECT_FALSE(ended.dialled.has_value());
  give_up.now();
  world.run_until([&] { return ended.dialled.has_value(); });
  EXPECT_EQ(ended.dialled->why, "the agent is gone");
  EXPECT_EQ(open_descriptors(), before);
  // Whoever is gone before dials nothing.
  world.empty_backlog("127.0.0.1");
  EXPECT_EQ(world.dial().dialled->why, "the agent is gone");
  EXPECT_EQ(world.accepted("127.0.0.1"), 0);
}

TEST(Dialer, DialsAnOnlyAddressThatIsKnownWithoutAWait) {
  Addresses world("127.0.0.1 many.test\n", "127.0.0.1 127.0.0.5");
  world.listen("127.0.0.1", Origin::answers);
  world.listen("127.0.0.5", Origin::answers);
  for (const char* host : {"many.test", "127.0.0.5"}) {
    // The kernel may leave the handshake to another thread of its own: not ten times.
    std::vector<int> handlers;
    for (int i = 0; i < 10; ++i) handlers.push_back(world.handlers_of_dial(host));
    EXPECT_THAT(handlers, testing::Contains(1)) << host;
  }
}

// Takes all descriptors but those that exist, for as long as it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{.rlim_cur = 256, .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (;;) {
      Fd one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!one) break;
      taken_.push_back(std::move(one));
    }
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  void give_back_one() { taken_.pop_back(); }

 private:
  rlimit before_{};
  std::vector<Fd> taken_;
};

TEST(Dialer, AsksForRoomOnceWhereDescriptorsAreUsedUp) {
  for (const char* hosts :
       {"127.0.0.1 many.test\n", "127.0.0.1 many.test\n127.0.0.2 many.test\n"}) {
    Addresses world(hosts);
    world.listen("127.0.0.1", Origin::answers);
    world.prepare();
    NoDescriptors none;
    int asked = 0;
    world.make_room = [&] {
      ++asked;
      return false;
    };
    const Ended without = world.dial();
    EXPECT_EQ(without.dialled->why, "127.0.0.1: Too many open files");
    EXPECT_GE(asked, 1);
    asked = 0;
    world.make_room = [&] {
      ++asked;
      none.give_back_one();
      return true;
    };
    EXPECT_TRUE(world.dial().dialled->connected) << hosts;
    EXPECT_EQ(asked, 1);
  }
}

}  // namespace
}  // namespace sluice::proxy
