#include "netns/lease_keeper.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "support.h"

namespace sluice::netns::test {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

// The sluiced of these tests: one end of a socket pair at a time, or none.
struct Sluiced {
  Fd end;
  bool is_away = false;

  Result<Fd> connect() {
    if (is_away) return fail(Errc::unavailable, "cannot reach sluiced");
    auto pair = socket_pair();
    if (!pair) return Failure(pair.error());
    end = std::move(pair->second);
    const int flags = ::fcntl(pair->first.get(), F_GETFL);
    ::fcntl(pair->first.get(), F_SETFL, flags | O_NONBLOCK);
    return std::move(pair->first);
  }
  // Answers the registration that waits here.
  void accept() {
    const auto packet = receive_packet(end.get());
    ASSERT_TRUE(packet && *packet && !(*packet)->closed);
    ASSERT_TRUE(send_packet(end.get(), encode(Answer(Registered{"id"}))));
  }
  void die() {
    end.reset();
    is_away = true;
  }
};

Listeners take(Network& network) {
  Listeners listeners;
  for (const RoleSocket& socket : network.sockets()) {
    listeners[static_cast<std::size_t>(socket.role)].reset(
        ::fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 3));
  }
  network.close_all();
  return listeners;
}

int connect_error() { return connect_tcp(endpoint("203.0.113.1", 443)).error; }

std::string notice(const std::vector<LeaseKeeper::Event>& events) {
  if (events.size() != 1) return "";
  const auto* const said = std::get_if<LeaseKeeper::Notice>(&events.front());
  return said == nullptr ? "" : said->text;
}

TEST(AKeptLease, OutlivesItsSluicedWithOpenThenWithClosedListeners) {
  in_agent_network([](Network& network) {
    Sluiced sluiced;
    LeaseKeeper keeper([&] { return sluiced.connect(); }, "coder-1", LeaseKeeper::AfterDeath::wait);
    const LeaseKeeper::Clock::time_point start{};
    ASSERT_TRUE(keeper.open());
    ASSERT_TRUE(keeper.hand_over(take(network)));
    sluiced.accept();
    ASSERT_EQ(keeper.receive(start).size(), 1U);
    ASSERT_TRUE(keeper.is_registered());

    sluiced.die();
    EXPECT_THAT(notice(keeper.receive(start)), HasSubstr("connections stand still"));
    EXPECT_EQ(keeper.tick(start + seconds(29)).size(), 0U);
    EXPECT_EQ(connect_error(), 0);  // it waits in the backlog
    EXPECT_THAT(notice(keeper.tick(start + seconds(31))),
                HasSubstr("every connection is refused until sluiced is back"));
    EXPECT_EQ(connect_error(), ECONNREFUSED);
    EXPECT_EQ(keeper.tick(start + seconds(40)).size(), 0U);

    sluiced.is_away = false;
    EXPECT_EQ(notice(keeper.tick(start + seconds(50))), "sluiced is back");
    sluiced.accept();
    ASSERT_EQ(keeper.receive(start).size(), 1U);
    EXPECT_TRUE(keeper.is_registered());
    EXPECT_EQ(keeper.replacements(), 1U);
    EXPECT_EQ(connect_error(), 0);
    EXPECT_FALSE(keeper.next_tick());
  });
}

TEST(AKeptLease, ThatTheNextSluicedRefusesIsClosed) {
  in_agent_network([](Network& network) {
    Sluiced sluiced;
    LeaseKeeper keeper([&] { return sluiced.connect(); }, "coder-1", LeaseKeeper::AfterDeath::wait);
    const LeaseKeeper::Clock::time_point start{};
    ASSERT_TRUE(keeper.open());
    ASSERT_TRUE(keeper.hand_over(take(network)));
    sluiced.accept();
    ASSERT_EQ(keeper.receive(start).size(), 1U);
    sluiced.end.reset();
    EXPECT_NE(notice(keeper.receive(start)), "");
    EXPECT_EQ(notice(keeper.tick(start + seconds(1))), "sluiced is back");
    ASSERT_TRUE(send_packet(sluiced.end.get(), encode(Answer(Refused{"the name is taken"}))));
    EXPECT_THAT(notice(keeper.receive(start)), HasSubstr("the name is taken"));
    EXPECT_EQ(connect_error(), ECONNREFUSED);
  });
}

TEST(AKeptLease, OfWhoWantsToBeToldIsNotWaitedFor) {
  in_agent_network([](Network& network) {
    Sluiced sluiced;
    LeaseKeeper keeper([&] { return sluiced.connect(); }, "coder-1", LeaseKeeper::AfterDeath::tell);
    const LeaseKeeper::Clock::time_point start{};
    ASSERT_TRUE(keeper.open());
    ASSERT_TRUE(keeper.hand_over(take(network)));
    sluiced.accept();
    ASSERT_EQ(keeper.receive(start).size(), 1U);
    sluiced.end.reset();
    const auto events = keeper.receive(start);
    ASSERT_EQ(events.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<LeaseKeeper::Gone>(events.front()));
    EXPECT_FALSE(keeper.next_tick());
    ASSERT_TRUE(keeper.begin_again());
    sluiced.accept();
    ASSERT_EQ(keeper.receive(start).size(), 1U);
    EXPECT_EQ(keeper.replacements(), 1U);
  });
}

}  // namespace
}  // namespace sluice::netns::test
