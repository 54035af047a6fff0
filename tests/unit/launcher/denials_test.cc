#include "launcher/supervision/denials.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"

namespace sluice::launcher {
namespace {

using std::chrono::milliseconds;

const LineLimit::Clock::time_point start{};

TEST(DenialLines, ComeAtOnceTwentyTimesAndThenOnceASecond) {
  LineLimit limit;
  for (int i = 0; i < 20; ++i) EXPECT_EQ(limit.admit(start), 0U) << i;
  EXPECT_EQ(limit.admit(start + milliseconds(1)), std::nullopt);
  EXPECT_EQ(limit.admit(start + milliseconds(999)), std::nullopt);
  EXPECT_EQ(limit.left_out(), 2U);
  EXPECT_EQ(limit.admit(start + milliseconds(1000)), 2U);
  EXPECT_EQ(limit.admit(start + milliseconds(1500)), std::nullopt);
  EXPECT_EQ(limit.admit(start + milliseconds(2000)), 1U);
  EXPECT_EQ(limit.left_out(), 0U);
}

TEST(DenialLines, TellHowManyWereLeftOutAndMoveNoCursor) {
  Denials denials{Fd{}};
  EXPECT_EQ(denials.add("evil.test is not listed\x1b[2J\r", start), "evil.test is not listed?[2J?");
  for (int i = 0; i < 25; ++i) denials.add("x", start);
  EXPECT_EQ(denials.add("last", start + milliseconds(1500)), "last (6 more before it)");
}

TEST(TheAgentsDenials, StopAt64KiBAndSaySo) {
  Fd file(::memfd_create("denials", MFD_CLOEXEC));
  ASSERT_TRUE(file);
  const Fd reader(::dup(file.get()));
  Denials denials(std::move(file));
  const std::string sentence(1023, 'x');
  for (int i = 0; i < 100; ++i) denials.add(sentence, start);
  ASSERT_EQ(::lseek(reader.get(), 0, SEEK_SET), 0);
  const auto text = read_fd(reader.get(), "denials", 1 << 20);
  ASSERT_TRUE(text);
  const std::string end = "(no more denials are listed here)\n";
  EXPECT_EQ(text->size(), 64U * 1024 + end.size());
  EXPECT_TRUE(text->ends_with(end));
}

}  // namespace
}  // namespace sluice::launcher
