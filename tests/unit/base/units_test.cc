#include "base/units.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::units {
namespace {

using namespace std::chrono_literals;

TEST(ASize, IsANumberOfBytesOrOfPowersOf1024) {
  EXPECT_EQ(bytes("4096"), 4096U);
  EXPECT_EQ(bytes("1B"), 1U);
  EXPECT_EQ(bytes("64KiB"), 65536U);
  EXPECT_EQ(bytes("64K"), 65536U);
  EXPECT_EQ(bytes("1MiB"), 1048576U);
  EXPECT_EQ(bytes("2GiB"), 2147483648U);
  EXPECT_EQ(bytes("16777215TiB"), 16777215U * (std::uint64_t{1} << 40));
  EXPECT_EQ(bytes("0"), 0U);
  for (const std::string text : {"", "KiB", "1kb", "1KB", "-1", "+1", "1.5GiB", " 1", "1 ", "1 KiB",
                                 "0x10", "16777216TiB", "18446744073709551616"}) {
    EXPECT_FALSE(bytes(text)) << text;
  }
}

TEST(ADuration, HasAUnit) {
  EXPECT_EQ(duration("250ms"), 250ms);
  EXPECT_EQ(duration("10s"), 10s);
  EXPECT_EQ(duration("5m"), 5min);
  EXPECT_EQ(duration("2h"), 2h);
  EXPECT_EQ(duration("366d"), 24h * 366);
  EXPECT_EQ(duration("0s"), 0ms);
  for (const std::string text :
       {"", "10", "s", "1w", "-1s", "1.5h", "367d", "1h30m", "10 s", " 10s", "+10s", "10S", "10sec",
        "99999999999999999999s", "18446744073709551615d"}) {
    EXPECT_FALSE(duration(text)) << text;
  }
}

TEST(AText, IsReadAsTheSame) {
  for (const std::string text : {"0", "1B", "4097B", "1536KiB", "2GiB", "1TiB"}) {
    EXPECT_EQ(bytes_text(bytes(text).value()), text);
  }
  for (const std::string text : {"0s", "250ms", "90s", "30m", "36h", "366d"}) {
    EXPECT_EQ(duration_text(duration(text).value()), text);
  }
  for (const std::string text : {"0", "2", "1.5", "0.25", "0.001", "8192"}) {
    EXPECT_EQ(thousandths_text(thousandths(text).value()), text);
  }
}

}  // namespace
}  // namespace sluice::units
