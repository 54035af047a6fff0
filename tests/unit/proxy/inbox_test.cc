// What arrived and was not understood yet, and how much memory that takes.
#include "proxy/session/inbox.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace sluice::proxy {
namespace {

void receive(Inbox& inbox, std::string_view bytes) {
  const asio::mutable_buffer room = inbox.room();
  ASSERT_GE(room.size(), bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  inbox.add(bytes.size());
}

void fill(Inbox& inbox) { receive(inbox, std::string(inbox.room().size(), 'x')); }

TEST(Inbox, KeepsInOrderWhatWasNotConsumed) {
  Inbox inbox;
  std::string expected;
  for (int i = 0; i < 5000; ++i) {
    const std::string more = std::to_string(i) + ' ';
    receive(inbox, more);
    expected += more;
    if (i % 3 == 0) {
      inbox.consume(2);
      expected.erase(0, 2);
    }
    ASSERT_EQ(inbox.view(), expected) << i;
  }
  inbox.consume(expected.size());
  EXPECT_TRUE(inbox.empty());
}

TEST(Inbox, ReadsMoreAtATimeWhereReadsFillTheirRoomUpToABound) {
  Inbox inbox;
  EXPECT_EQ(inbox.room().size(), Inbox::smallest_read);
  std::size_t before = 0;
  for (int i = 0; i < 8; ++i) {
    const std::size_t room = inbox.room().size();
    EXPECT_GE(room, before);
    EXPECT_LE(room, Inbox::largest_read);
    before = room;
    fill(inbox);
    inbox.consume(room);
  }
  EXPECT_EQ(before, Inbox::largest_read);
}

TEST(Inbox, HoldsNoMoreThanASmallReadWhereNothingIsLeft) {
  Inbox inbox;
  for (int i = 0; i < 8; ++i) {
    fill(inbox);
    if (i == 7) break;
    inbox.consume(inbox.view().size());
  }
  inbox.consume(inbox.view().size() - 1);
  inbox.shrink();
  EXPECT_EQ(inbox.view(), "x") << "what is left stays";
  inbox.consume(1);
  inbox.shrink();
  EXPECT_EQ(inbox.room().size(), Inbox::smallest_read);
}

}  // namespace
}  // namespace sluice::proxy
