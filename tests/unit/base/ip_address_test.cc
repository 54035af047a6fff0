#include "base/ip_address.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice {
namespace {

TEST(IpAddress, HasOneText) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"0.0.0.0", "0.0.0.0"},
      {"192.0.2.1", "192.0.2.1"},
      {"255.255.255.255", "255.255.255.255"},
      {"::", "::"},
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
      {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
      {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"}};
  for (const auto& [text, expected] : cases) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), expected);
  }
}

TEST(IpAddress, NoOtherSpellingIsRead) {
  using namespace std::string_literals;
  for (const std::string& text : std::vector<std::string>{"",
                                                          "1",
                                                          "127.1",
                                                          "1.2.3",
                                                          "1.2.3.4.5",
                                                          "256.0.0.1",
                                                          "01.2.3.4",
                                                          "1.2.3.04",
                                                          "00.0.0.0",
                                                          "0x7f.0.0.1",
                                                          "1.2.3.4 ",
                                                          " 1.2.3.4",
                                                          "1.2.3.4\0"s,
                                                          "1.2.3.4/32",
                                                          "+1.2.3.4",
                                                          "1..2.3",
                                                          ":",
                                                          ":::",
                                                          "1::2::3",
                                                          "12345::",
                                                          "::g",
                                                          "[::1]",
                                                          "::1%lo",
                                                          "::1%1",
                                                          "::1 ",
                                                          "::1\0"s,
                                                          "::ffff:1.2.3",
                                                          "::ffff:01.2.3.4",
                                                          "1:2:3:4:5:6:7",
                                                          "1:2:3:4:5:6:7:8:9",
                                                          std::string(100, ':')}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(IpAddress, OfOneFamilyIsNeverEqualToOneOfTheOther) {
  EXPECT_NE(IpAddress::parse("0.0.0.0"), IpAddress::parse("::"));
  EXPECT_EQ(IpAddress::v4(0x7f000001), IpAddress::parse("127.0.0.1"));
  EXPECT_EQ(IpAddress::parse("127.0.0.1")->v4_value(), 0x7f000001U);
}

TEST(Cidr, IsANetworkWithoutHostBits) {
  for (const std::string text : {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "::/0", "fc00::/7",
                                 "2001:db8::1/128", "192.0.2.128/25"}) {
    const auto range = Cidr::parse(text);
    ASSERT_TRUE(range) << text;
    EXPECT_EQ(range->to_string(), text);
  }
  EXPECT_EQ(Cidr::parse("192.0.2.1")->to_string(), "192.0.2.1/32");
  EXPECT_EQ(Cidr::parse("::1")->to_string(), "::1/128");
  for (const std::string text : {"10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/08",
                                 "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0.0/8/8", "/8",
                                 "10.0.0.0/256", "10.0.0.0/4294967304", "fc00::1/7"}) {
    EXPECT_FALSE(Cidr::parse(text)) << text;
  }
}

TEST(Cidr, ContainsItsFirstAndLastAddress) {
  const auto contains = [](const char* range, const char* address) {
    return Cidr::parse(range)->contains(*IpAddress::parse(address));
  };
  EXPECT_TRUE(contains("192.0.2.128/25", "192.0.2.128"));
  EXPECT_TRUE(contains("192.0.2.128/25", "192.0.2.255"));
  EXPECT_FALSE(contains("192.0.2.128/25", "192.0.2.127"));
  EXPECT_FALSE(contains("192.0.2.128/25", "192.0.3.0"));
  EXPECT_TRUE(contains("0.0.0.0/0", "255.255.255.255"));
  EXPECT_FALSE(contains("0.0.0.0/0", "::"));
  EXPECT_FALSE(contains("::/0", "0.0.0.0"));
  EXPECT_TRUE(contains("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(contains("2001:db8::/33", "2001:db8:8000::"));
}

TEST(Cidr, AroundAnAddressClearsTheBitsBehindItsLength) {
  const auto around = [](const char* address, std::uint8_t length) {
    return Cidr::around(*IpAddress::parse(address), length).to_string();
  };
  EXPECT_EQ(around("192.0.2.255", 32), "192.0.2.255/32");
  EXPECT_EQ(around("192.0.2.255", 25), "192.0.2.128/25");
  EXPECT_EQ(around("192.0.2.255", 0), "0.0.0.0/0");
  EXPECT_EQ(around("2001:db8:ffff::1", 128), "2001:db8:ffff::1/128");
  EXPECT_EQ(around("2001:db8:ffff::1", 33), "2001:db8:8000::/33");
  EXPECT_EQ(around("2001:db8:ffff::1", 0), "::/0");
}

TEST(Cidr, OverlapsWhereOneContainsTheOther) {
  const auto overlap = [](const char* a, const char* b) {
    const bool one = Cidr::parse(a)->overlaps(*Cidr::parse(b));
    EXPECT_EQ(one, Cidr::parse(b)->overlaps(*Cidr::parse(a)));
    return one;
  };
  EXPECT_TRUE(overlap("198.18.0.0/15", "198.19.255.255/32"));
  EXPECT_TRUE(overlap("198.18.0.0/15", "0.0.0.0/0"));
  EXPECT_FALSE(overlap("198.18.0.0/15", "198.20.0.0/15"));
  EXPECT_FALSE(overlap("0.0.0.0/0", "::/0"));
}

}  // namespace
}  // namespace sluice
