#include "launcher/supervision/own_lines.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

using std::chrono::milliseconds;

constexpr OwnLines::Clock::time_point start{};
std::string* screen = nullptr;

class Screen : public testing::Test {
 protected:
  void SetUp() override { screen = &text_; }
  void TearDown() override { screen = nullptr; }

  bool pass(std::string_view said) {
    return lines_.pass(said, [](std::string_view piece) {
      *screen += piece;
      return true;
    });
  }

  OwnLines lines_{[](std::string_view ours) { *screen += ours; }};
  std::string text_;
};

TEST_F(Screen, ShowsOursAtOnceWhereALineHasEnded) {
  lines_.say("first\n", start);
  pass("theirs\n");
  lines_.say("second\n", start);
  EXPECT_EQ(text_, "first\ntheirs\nsecond\n");
  EXPECT_FALSE(lines_.due());
}

TEST_F(Screen, ShowsOursBehindTheLineThatWasBegun) {
  pass("c");
  lines_.say("ours\n", start);
  lines_.say("and more\n", start + milliseconds(1));
  pass("u");
  EXPECT_EQ(text_, "cu");
  pass("rl: (56)\nwget: ");
  EXPECT_EQ(text_, "curl: (56)\nours\nand more\nwget: ");
  EXPECT_FALSE(lines_.due());
  EXPECT_TRUE(lines_.is_mid_line());
}

TEST_F(Screen, ShowsOursAfterTwoSecondsOnALineOfItsOwn) {
  pass("Password: ");
  lines_.say("ours\n", start);
  lines_.say("and more\n", start + milliseconds(1500));
  ASSERT_EQ(lines_.due(), start + OwnLines::longest_wait);
  lines_.tick(start + milliseconds(1999));
  EXPECT_EQ(text_, "Password: ");
  lines_.tick(start + milliseconds(2000));
  EXPECT_EQ(text_, "Password: \nours\nand more\n");
  EXPECT_FALSE(lines_.due());
  pass("secret");
  lines_.say("later\r\n", start + milliseconds(2001));
  lines_.end(false);
  EXPECT_EQ(text_, "Password: \nours\nand more\nsecret\r\nlater\r\n");
}

TEST_F(Screen, ShowsTheLastOfOursOnLinesOfTheirOwn) {
  lines_.end(true);
  EXPECT_EQ(text_, "");
  lines_.say("end\n", start);
  lines_.say("of run\n", start);
  EXPECT_EQ(text_, "\nend\nof run\n");
}

TEST_F(Screen, TakesNoMoreThanItHasRoomFor) {
  pass("x");
  const std::string line(1023, 'y');
  for (std::size_t i = 0; i < OwnLines::most_waiting; i += 1024) {
    EXPECT_FALSE(lines_.is_full());
    lines_.say(line + "\n", start);
  }
  EXPECT_TRUE(lines_.is_full());
  pass("\n");
  EXPECT_FALSE(lines_.is_full());
}

TEST_F(Screen, IsGivenUpWhereNobodyReads) {
  int pieces = 0;
  pass("begun");
  lines_.say("ours\n", start);
  EXPECT_FALSE(lines_.pass("a\nb\n", [&](std::string_view) { return ++pieces < 1; }));
  EXPECT_EQ(pieces, 1);
}

}  // namespace
}  // namespace sluice::launcher
