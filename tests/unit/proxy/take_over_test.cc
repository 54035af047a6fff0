// What two sluiced tell each other of budgets, and the pieces in which they do.
#include <fcntl.h>
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <filesystem>

#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/spawn.h"
#include "proxy/daemon/transfer.h"
#include "proxy/daemon/unix_socket.h"
#include "proxy/session/allowance.h"
#include "proxy/session/synthetic_names.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using metrics::Direction;

const allowlists::Budget day{.bytes = 1000, .per = 24h};
const auto now = Allowance::Utc::time_point(std::chrono::hours(24 * 20000 + 5));

TEST(BudgetsOfTwo, WhatOneUsedCountsInTheOtherOnce) {
  Allowances old_one;
  old_one.of("coder-1")->take(Direction::up, day, 400, now);
  Allowances new_one;
  ASSERT_TRUE(new_one.restore(old_one.save(now), now));
  old_one.tell_all();
  new_one.tell_all();
  EXPECT_EQ(old_one.take_untold(now), "");

  old_one.of("coder-1")->take(Direction::up, day, 100, now);
  new_one.of("coder-1")->take(Direction::up, day, 200, now);
  const std::string of_old = old_one.take_untold(now);
  const std::string of_new = new_one.take_untold(now);
  ASSERT_TRUE(old_one.add(of_new, now));
  ASSERT_TRUE(new_one.add(of_old, now));
  EXPECT_EQ(old_one.take_untold(now), "");  // what the other said is not said back
  EXPECT_EQ(new_one.take_untold(now), "");
  EXPECT_EQ(old_one.of("coder-1")->take(Direction::up, day, 1000, now), 300U);
  EXPECT_EQ(new_one.of("coder-1")->take(Direction::up, day, 1000, now), 300U);
}

TEST(BudgetsOfTwo, WhatWasUsedInAWindowThatIsOverCountsForNothing) {
  Allowances old_one;
  old_one.of("coder-1")->take(Direction::down, day, 400, now);
  const std::string yesterday = old_one.take_untold(now);
  Allowances new_one;
  ASSERT_TRUE(new_one.add(yesterday, now + 24h));
  EXPECT_EQ(new_one.of("coder-1")->take(Direction::down, day, 1000, now + 24h), 1000U);
}

TEST(BudgetsOfTwo, ComeInPiecesThatEachCanBeRead) {
  Allowances many;
  for (int i = 0; i < 3000; ++i) {
    many.of(fmt::format("an-agent-with-a-long-name-{}", i))->take(Direction::up, day, 7, now);
  }
  const auto pieces = in_pieces(many.save(now));
  EXPECT_GT(pieces.size(), 2U);
  Allowances all;
  for (const std::string& piece : pieces) {
    EXPECT_LE(netns::encode(netns::Transfer(netns::Budgets{piece})).size(), netns::max_message);
    const auto read = all.restore(piece, now);
    ASSERT_TRUE(read) << to_string(read.error());
  }
  EXPECT_EQ(all.save(now), many.save(now));
  EXPECT_TRUE(in_pieces("").empty());
  EXPECT_TRUE(in_pieces(Allowances().save(now)).empty());
}

TEST(BudgetsOfTwo, AreSaidLaterWhereTheOtherDoesNotReadNow) {
  auto ends = netns::socket_pair();
  ASSERT_TRUE(ends);
  for (const Fd* end : {&ends->first, &ends->second}) ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
  int others = 0;
  while (send_transfer(ends->first.get(), netns::Taken{})) ++others;
  Allowances old_one;
  old_one.of("coder-1")->take(Direction::up, day, 400, now);
  SpentTeller teller;
  EXPECT_FALSE(teller.tell(ends->first.get(), old_one.take_untold(now)));
  for (; others > 0; --others) ASSERT_TRUE(receive_transfer(ends->second.get()).message);
  old_one.of("coder-1")->take(Direction::up, day, 100, now);
  EXPECT_TRUE(teller.tell(ends->first.get(), old_one.take_untold(now)));
  Allowances new_one;
  for (;;) {
    const Received received = receive_transfer(ends->second.get());
    if (!received.message) break;
    ASSERT_TRUE(new_one.add(std::get<netns::Spent>(*received.message).lines, now));
  }
  EXPECT_EQ(new_one.of("coder-1")->take(Direction::up, day, 1000, now), 500U);
}

TEST(FrozenNames, AreKnownAndNoNewOneIsGiven) {
  SyntheticNames names;
  const auto first = names.give("a.test");
  ASSERT_TRUE(first);
  const auto all = names.freeze();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all.front(), (netns::Binding{"a.test", first->index}));
  EXPECT_EQ(names.give("a.test")->index, first->index);
  EXPECT_FALSE(names.give("b.test"));
  EXPECT_TRUE(names.is_frozen());
  names.thaw();
  EXPECT_TRUE(names.give("b.test"));
}

TEST(Transfer, WhatIsNoMessageOfATakeOverIsTheEndOfTheOther) {
  auto ends = netns::socket_pair();
  ASSERT_TRUE(ends);
  const int one = ends->first.get();
  ASSERT_TRUE(send_transfer(one, netns::Taken{}));
  EXPECT_TRUE(receive_transfer(ends->second.get()).message);
  ASSERT_TRUE(netns::send_packet(one, "nonsense"));
  const Received nonsense = receive_transfer(ends->second.get());
  EXPECT_TRUE(nonsense.gone);
  EXPECT_THAT(nonsense.why, testing::HasSubstr("not JSON"));
  ends->first.reset();
  EXPECT_TRUE(receive_transfer(ends->second.get()).gone);
}

TEST(Peers, OfAUserWhoHasAsManyConnectionsAsItMayAreTurnedAwayInWords) {
  std::string folder = (std::filesystem::temp_directory_path() / "sluice-peers-XXXXXX").native();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  metrics::Registry registry;
  Shared shared{.timeouts = {}, .own_listeners = {}, .loop_token = "b00b", .registry = registry};
  Workers none;
  Agents agents(none, shared);
  std::optional<Peers> peers;  // outlives the conversations, which go with io
  asio::io_context io;
  peers.emplace(io, agents, Peers::Limits{.connections_per_uid = 2});
  const std::string path = folder + "/handover.sock";
  auto listener = listen_for_peers(path);
  ASSERT_TRUE(listener) << to_string(listener.error());
  Entrance entrance(io, std::move(*listener));
  spawn(io, peers->accept(entrance));
  std::vector<Fd> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(connect_unix(path, SOCK_SEQPACKET | SOCK_NONBLOCK).value_or(Fd()));
    ASSERT_TRUE(clients.back());
  }
  Received refused;
  for (int i = 0; i < 6000 && !refused.message; ++i) {
    io.run_one_for(10ms);
    refused = receive_transfer(clients.back().get());
    ASSERT_FALSE(refused.gone) << refused.why;
  }
  ASSERT_TRUE(refused.message);
  EXPECT_THAT(std::get<netns::Refused>(*refused.message).error,
              testing::HasSubstr("as many handover connections as it may"));
  EXPECT_FALSE(receive_transfer(clients.front().get()).gone);
  peers->rest();
  for (int i = 0; i < 6000 && !peers->rests(); ++i) io.run_one_for(10ms);
  EXPECT_EQ(peers->resting().size(), 2U);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sluice::proxy
