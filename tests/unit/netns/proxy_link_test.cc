#include "netns/proxy_link.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <thread>

#include "base/text.h"

namespace sluice::netns {
namespace {

// The other end of a registration: a sluiced that says what a test makes it say.
class Link : public ::testing::Test {
 protected:
  void SetUp() override {
    for (Fd& listener : listeners_)
      listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }

  void connect() {
    auto pair = socket_pair();
    ASSERT_TRUE(pair);
    ASSERT_EQ(::fcntl(pair->first.get(), F_SETFL, O_NONBLOCK), 0);
    proxy_ = std::move(pair->second);
    ASSERT_TRUE(link_.register_over(std::move(pair->first), listeners_));
  }

  // The next request, and how many descriptors came with it.
  std::pair<Request, std::size_t> asked() {
    auto packet = receive_packet(proxy_.get());
    EXPECT_TRUE(packet && *packet);
    auto request = decode_request((*packet)->bytes);
    EXPECT_TRUE(request);
    return {std::move(*request), (*packet)->fds.size()};
  }

  void say(const Answer& answer) { ASSERT_TRUE(send_packet(proxy_.get(), encode(answer))); }

  Listeners listeners_;
  ProxyLink link_{"coder-1"};
  Fd proxy_;
};

TEST_F(Link, RegistersTheFiveSockets) {
  connect();
  const auto [request, descriptors] = asked();
  const auto& asked_for = std::get<Register>(request);
  EXPECT_EQ(asked_for.agent, "coder-1");
  EXPECT_EQ(asked_for.sockets.size(), role_count);
  EXPECT_EQ(descriptors, role_count);
  say(Registered{"id"});
  const auto events = link_.receive();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<Registered>(events.front()));
  EXPECT_TRUE(link_.is_registered());
}

TEST_F(Link, HearsWhyItIsNotAdmittedAlsoWhereSluicedHungUpBeforeItAsked) {
  auto pair = socket_pair();
  ASSERT_TRUE(pair);
  ASSERT_EQ(::fcntl(pair->first.get(), F_SETFL, O_NONBLOCK), 0);
  proxy_ = std::move(pair->second);
  say(Refused{"nobody admits you"});
  proxy_.reset();
  ASSERT_TRUE(link_.register_over(std::move(pair->first), listeners_));
  const auto events = link_.receive();
  ASSERT_FALSE(events.empty());
  const auto* const refused = std::get_if<Refused>(&events.front());
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->error, "nobody admits you");
}

TEST_F(Link, HearsDenialsBetweenARequestAndItsAnswer) {
  connect();
  (void)asked();
  say(Denied{"no"});
  say(Registered{"id"});
  const auto events = link_.receive();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(std::get<Denied>(events[0]).sentence, "no");
}

TEST_F(Link, GivesTheNextProxyEveryNameThatWasGivenOut) {
  connect();
  (void)asked();
  say(Registered{"id"});
  Bindings bindings;
  for (std::uint32_t index = 1; index <= 450; ++index) {
    bindings.names.push_back({"n" + std::to_string(index) + ".test", index});
    if (bindings.names.size() < 150) continue;
    say(bindings);
    bindings.names.clear();
  }
  say(Bindings{{{"n1.test", 1}}});  // again: remembered once
  (void)link_.receive();
  connect();
  std::size_t names = 0;
  for (int packet = 0; packet < 2; ++packet) {
    const auto [request, descriptors] = asked();
    names += std::get<Names>(request).names.size();
    EXPECT_EQ(descriptors, 0U);
    say(Accepted{});
    EXPECT_TRUE(link_.receive().empty());
  }
  const auto [request, descriptors] = asked();
  names += std::get<Register>(request).names.size();
  EXPECT_EQ(names, 450U);
  EXPECT_EQ(descriptors, role_count);
}

TEST_F(Link, IsGoneWhenTheProxyIs) {
  connect();
  proxy_.reset();
  const auto events = link_.receive();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(std::get<ProxyLink::Gone>(events.front()).why, "it has ended");
  EXPECT_EQ(link_.fd(), -1);
}

TEST_F(Link, BreaksOffWithAProxyThatAnswersWhatWasNotAsked) {
  for (const Answer& answer : {Answer(Totals{}), Answer(Accepted{})}) {
    connect();
    (void)asked();
    say(answer);
    const auto events = link_.receive();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(std::get<ProxyLink::Gone>(events.front()).why, "it answered what was not asked");
    EXPECT_EQ(link_.fd(), -1);
  }
}

TEST_F(Link, TellsTotalsAtTheEnd) {
  connect();
  (void)asked();
  say(Registered{"id"});
  (void)link_.receive();
  ASSERT_TRUE(link_.unregister());
  EXPECT_TRUE(std::holds_alternative<Unregister>(asked().first));
  Totals totals;
  totals.allowed = 4;
  say(totals);
  const auto events = link_.receive();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(std::get<Totals>(events.front()).allowed, 4U);
}

// One that is behind with what it was told: the end of an agent is not lost.
TEST_F(Link, WaitsForRoomWithItsLastWords) {
  connect();
  (void)asked();
  say(Registered{"id"});
  (void)link_.receive();
  Event seen;
  seen.kind = Event::Kind::udp_refused;
  seen.count = 1;
  while (link_.report(seen)) continue;
  EXPECT_EQ(errno, EAGAIN);
  std::jthread proxy([this] {
    while (!std::holds_alternative<Unregister>(asked().first)) continue;
    while (!std::holds_alternative<Event>(asked().first)) continue;
  });
  EXPECT_TRUE(link_.unregister());
  EXPECT_TRUE(link_.report_last(seen));
}

TEST(ClosedListeners, RefuseConnectionsAlsoWhereADuplicateIsHeld) {
  Listeners listeners;
  listeners[0].reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(listeners[0].get(), raw, size), 0);
  ASSERT_EQ(::listen(listeners[0].get(), 1), 0);
  ASSERT_EQ(::getsockname(listeners[0].get(), raw, &size), 0);
  const Fd duplicate(::dup(listeners[0].get()));
  close_listeners(listeners);
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(client.get(), raw, size), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

}  // namespace
}  // namespace sluice::netns
