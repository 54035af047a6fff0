#include "launcher/plan/limits.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(MemoryLimits, LeaveRoomForTheSandboxItself) {
  EXPECT_EQ(parse_memory("16MiB"), 16U << 20);
  EXPECT_EQ(to_string(parse_memory("15MiB").error()),
            "error: a memory limit of '15MiB' is too small\nhint: with less than 16MiB no sandbox "
            "can be made");
  EXPECT_FALSE(parse_memory("much"));
}

TEST(CpuLimits, AreDecimalNumbers) {
  const std::pair<const char*, std::uint32_t> cases[] = {{"2", 2000},       {"0.5", 500},
                                                         {"1.25", 1250},    {"0.01", 10},
                                                         {"12.001", 12001}, {"8192", 8192000}};
  for (const auto& [text, thousandths] : cases) EXPECT_EQ(parse_cpus(text), thousandths) << text;
  for (const char* text : {"", "0", "0.009", "-1", "+1", "1.", ".5", "1.2345", "1e3", "0x2", " 1",
                           "1,5", "8193", "99999999999999999999", "1.5.2"}) {
    EXPECT_FALSE(parse_cpus(text)) << text;
  }
}

TEST(Weights, AreWholeNumbersUpToTenThousand) {
  EXPECT_EQ(parse_io_weight("1"), 1U);
  EXPECT_EQ(parse_io_weight("10000"), 10000U);
  for (const char* text : {"", "0", "-1", "10001", "1.5", "100%", "99999999999999999999"}) {
    EXPECT_FALSE(parse_io_weight(text)) << text;
  }
}

TEST(Swap, IsASizeOrNone) {
  EXPECT_EQ(parse_swap("0"), 0U);
  EXPECT_EQ(parse_swap("1GiB"), 1U << 30);
  EXPECT_FALSE(parse_swap("1"));
  EXPECT_FALSE(parse_swap("-0"));
}

TEST(ProcessLimits, AreWholeNumbers) {
  EXPECT_EQ(parse_pids("8"), 8U);
  EXPECT_EQ(parse_pids("4194304"), 4194304U);
  for (const char* text : {"", "7", "0", "-9", "8.0", "8k", "4194305", "99999999999999999999"}) {
    EXPECT_FALSE(parse_pids(text)) << text;
  }
}

TEST(Limits, AreSaidInThePlainestUnit) {
  EXPECT_EQ(size_in_words(std::uint64_t{2} << 30), "2 GiB");
  EXPECT_EQ(size_in_words(1536U << 20), "1536 MiB");
  EXPECT_EQ(size_in_words(5000), "5000 bytes");
  EXPECT_EQ(cpus_in_words(1500), "1.5");
  EXPECT_EQ(cpus_in_words(2000), "2");
  EXPECT_EQ(cpus_in_words(10), "0.01");
}

}  // namespace
}  // namespace sluice::launcher
