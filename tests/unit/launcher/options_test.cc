#include "launcher/options.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

using std::chrono::milliseconds;

TEST(Sizes, AreNumbersWithPowersOf1024) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"4096", 4096},        {"4096B", 4096},    {"64K", 65536},          {"64KiB", 65536},
      {"256MiB", 268435456}, {"2G", 2147483648}, {"1TiB", 1099511627776}, {"8KiB", 8192},
  };
  for (const auto& [text, bytes] : cases) EXPECT_EQ(parse_size(text), bytes) << text;
}

TEST(Sizes, RefuseWhatIsNoSizeAndSayWhatIs) {
  for (const char* text : {"", "0", "4095", "-1", "+4096", "1.5G", "5Q", "4096 ", " 4096", "4096kb",
                           "99999999999999999999", "99999999999T", "2048T"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(
        to_string(size.error()),
        "error: '" + std::string(text) +
            "' is not a size\nhint: write a number of at least 4096 bytes: 4096, 64KiB, 256MiB, "
            "2GiB");
  }
}

TEST(Durations, NeedAUnit) {
  EXPECT_EQ(parse_duration("500ms"), milliseconds(500));
  EXPECT_EQ(parse_duration("30s"), milliseconds(30'000));
  EXPECT_EQ(parse_duration("10m"), milliseconds(600'000));
  EXPECT_EQ(parse_duration("2h"), milliseconds(7'200'000));
  EXPECT_EQ(parse_duration("1d"), milliseconds(86'400'000));
  for (const char* text : {"", "5", "0s", "-5s", "5 s", "1h30m", "99999999999h", "s"}) {
    const auto duration = parse_duration(text);
    ASSERT_FALSE(duration) << text;
    EXPECT_EQ(to_string(duration.error()),
              "error: '" + std::string(text) +
                  "' is not a duration\nhint: write a number and a unit: "
                  "500ms, 30s, 10m, 2h, 1d");
  }
}

TEST(Tmpfs, TakesAPathAndPerhapsASize) {
  const auto plain = parse_tmpfs("/cache/");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->path, "/cache");
  EXPECT_EQ(plain->bytes, default_tmpfs_bytes);
  const auto sized = parse_tmpfs("/var/../cache:64M");
  ASSERT_TRUE(sized);
  EXPECT_EQ(sized->path, "/cache");
  EXPECT_EQ(sized->bytes, std::uint64_t{64} * 1024 * 1024);
  EXPECT_EQ(parse_tmpfs("cache").error().what, "the tmpfs 'cache' is not absolute");
}

TEST(AMask, IsAPathWhateverIsInIt) {
  EXPECT_EQ(parse_mask("/data/../keys:4096"), "/keys:4096");
  EXPECT_EQ(parse_mask("/a:b"), "/a:b");
  EXPECT_EQ(parse_mask("keys").error().what, "the mask 'keys' is not absolute");
}

TEST(Binds, AreReadOnlyUnlessRwIsSaid) {
  const auto plain = parse_bind("/data");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->source, "/data");
  EXPECT_EQ(plain->destination, "/data");
  EXPECT_EQ(plain->access, Access::read_only);
  const auto full = parse_bind("/data:/mnt/data:rw");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->destination, "/mnt/data");
  EXPECT_EQ(full->access, Access::read_write);
  const auto short_form = parse_bind("/data:rw");
  ASSERT_TRUE(short_form);
  EXPECT_EQ(short_form->destination, "/data");
  EXPECT_EQ(short_form->access, Access::read_write);
}

TEST(Binds, RefuseWhatIsNoBind) {
  for (const char* text : {"", ":/x", "/a:/b:/c", "/a:/b:rw:ro", ":"}) {
    EXPECT_FALSE(parse_bind(text)) << text;
  }
  EXPECT_EQ(parse_bind("/a:b").error().what, "the bind's destination 'b' is not absolute");
}

TEST(Variables, HaveANameAndAValue) {
  const auto variable = parse_environment("A_1=x=y");
  ASSERT_TRUE(variable);
  EXPECT_EQ(variable->first, "A_1");
  EXPECT_EQ(variable->second, "x=y");
  EXPECT_EQ(parse_environment("A").error().what, "'A' has no '='");
  for (const char* text : {"=x", "1A=x", "A-B=x", "A B=x"}) {
    EXPECT_FALSE(parse_environment(text)) << text;
  }
}

}  // namespace
}  // namespace sluice::launcher
