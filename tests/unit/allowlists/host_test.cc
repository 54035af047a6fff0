#include "allowlists/host.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::allowlists {
namespace {

using namespace std::string_literals;

std::string canonical(std::string_view text) {
  const auto host = Host::parse(text);
  return host ? host->to_string() : "refused";
}

std::string target_of(std::string_view text) {
  const auto target = Target::parse(text, std::nullopt);
  return target ? target->to_string() : "refused";
}

TEST(Host, OneNameHasOneForm) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"allowed.test", "allowed.test"},
      {"allowed.test.", "allowed.test"},
      {"ALLOWED.test", "allowed.test"},
      {"AlLoWeD.TeSt.", "allowed.test"},
      {"localhost", "localhost"},
      {"_dmarc.example.com", "_dmarc.example.com"},
      {"r3---sn-4g5e.example.com", "r3---sn-4g5e.example.com"},
      {"1.2.3.example", "1.2.3.example"},
      {"7.example.4u", "7.example.4u"},
      {"0x.example", "0x.example"},
      {"b\u00fccher.example", "xn--bcher-kva.example"},
      {"B\u00fccher.EXAMPLE", "xn--bcher-kva.example"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example"},
      {"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
      {"stra\u00dfe.example", "xn--strae-oqa.example"},  // never strasse
      {"\u4f8b\u3048.test", "xn--r8jz45g.test"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(canonical(text), expected) << text;
}

TEST(Host, AnAddressInStandardSpellingIsAnAddress) {
  for (const std::string text :
       {"127.0.0.1", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1"}) {
    const auto host = Host::parse(text);
    ASSERT_TRUE(host) << text;
    EXPECT_FALSE(host->is_name()) << text;
    EXPECT_EQ(host->to_string(), text);
  }
  EXPECT_EQ(canonical("2001:DB8:0:0::1"), "2001:db8::1");
}

TEST(Host, NoOtherSpellingIsGuessedAt) {
  const std::vector<std::string> cases = {
      "",
      ".",
      "..",
      "allowed.test..",
      ".allowed.test",
      "allowed..test",
      // bytes that some parser stops at or skips
      "evil.test\0.allowed.test"s,
      "allowed.test\0"s,
      "evil.test%00.allowed.test",
      "allowed%2etest",
      "allowed.test@evil.test",
      "evil.test\\@allowed.test",
      "evil.test\\.allowed.test",
      "evil.test#.allowed.test",
      "evil.test?.allowed.test",
      "evil.test/.allowed.test",
      "allowed.test ",
      " allowed.test",
      "allowed.test\t",
      "allowed.test\r\n",
      "allowed.test\x7f",
      "*.allowed.test",
      "allowed.test,evil.test",
      "\"allowed.test\"",
      "allowed.test:443",
      // brackets and zones
      "[allowed.test]",
      "[::1]",
      "::1%eth0",
      "fe80::1%1",
      "::1%25eth0",
      "[::1%eth0]",
      // what some resolvers take for an address
      "0x7f.1",
      "127.1",
      "2130706433",
      "0177.0.0.1",
      "0x7f000001",
      "017700000001",
      "127.0.0.1.",
      "127.0.1",
      "1.2.3.4.5",
      "256.0.0.1",
      "127.0.0.01",
      "127.0.0.0x1",
      "evil.0",
      "evil.0x",
      "0X7F.1",
      "1.2.3.0xDEADBEEF",
      "::ffff:127.1",
      "::ffff:0177.0.0.1",
      ":::",
      "1::2::3",
      // dots and letters that IDNA2003 or UTS 46 would map to ASCII
      "allowed\u3002test",
      "allowed\uff0etest",
      "allowed\uff61test",
      "\uff41\uff4c\uff4c\uff4f\uff57\uff45\uff44.test",
      "\uff41llowed.test",
      "\U0001d41allowed.test",
      "\u212bngstrom.test",
      "\u212aelvin.test",
      "allo\u00adwed.test",
      "allowed\u200b.test",
      "allowed\u200d.test",
      "allowed\u2044.test",
      "\u2488.test",
      "\u2460.test",
      "al\u202elowed.test",
      "\u0663.test\u0663",
      // a decomposed letter: not in NFC
      "bu\u0308cher.example",
      // not UTF-8
      "allowed\xff.test",
      "allowed\xc0\xae"
      "test",
      "\xed\xa0\x80.test",
      std::string(64, 'a') + ".test",
      std::string(2000, 'a'),
  };
  for (const std::string& text : cases) EXPECT_EQ(canonical(text), "refused") << text;
}

TEST(Host, ALabelHas63BytesAndANameHas253) {
  const std::string label(63, 'a');
  EXPECT_EQ(canonical(label + ".test"), label + ".test");
  const std::string longest = label + '.' + label + '.' + label + '.' + std::string(61, 'a');
  ASSERT_EQ(longest.size(), 253U);
  EXPECT_EQ(canonical(longest), longest);
  EXPECT_EQ(canonical(longest + '.'), longest);
  EXPECT_EQ(canonical(longest + 'a'), "refused");
}

TEST(Host, ARefusalSaysWhyAndDoesNotRepeatTheSpelling) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "the name is empty"},
      {"127.1", "the last label is a number and the whole is no address"},
      {"::1%eth0", "it has a ':' and is no IPv6 address"},
      {"a\0b"s, "the name has a NUL byte"},
      {"a@b", "the name has a character other than letters, digits, '-', '_' and '.'"},
      {"a..b", "the name has an empty label"},
      {std::string(64, 'a'), "the name has a label longer than 63 bytes"},
      {std::string(300, 'a'), "the name is longer than 253 bytes"},
      {"a\u3002b", "the name has a dot that is not '.'"},
      {"\uff41.test", "the name is not valid in IDNA2008 (RFC 5891)"},
      {"\xff.test", "the name is not UTF-8"},
  };
  for (const auto& [text, why] : cases) {
    const auto host = Host::parse(text);
    ASSERT_FALSE(host) << text;
    EXPECT_EQ(host.error().why, why);
  }
}

TEST(Target, IsAHostAndAPort) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"api.example.com:443", "api.example.com:443"},
      {"API.example.com.:1", "api.example.com:1"},
      {"192.0.2.1:65535", "192.0.2.1:65535"},
      {"[2001:DB8::1]:443", "[2001:db8::1]:443"},
      {"[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(target_of(text), expected) << text;
  EXPECT_EQ(Target::parse("api.example.com", 443)->to_string(), "api.example.com:443");
  EXPECT_EQ(Target::parse("[::1]", 80)->to_string(), "[::1]:80");
}

TEST(Target, AnyOtherAuthorityIsRefused) {
  const std::vector<std::string> cases = {
      "",
      ":443",
      "a.test",
      "a.test:",
      "a.test:0",
      "a.test:-1",
      "a.test:65536",
      "a.test:65616",
      "a.test:+80",
      "a.test:0120",
      "a.test:080",
      "a.test:80x",
      "a.test:x80",
      "a.test: 80",
      "a.test:80 ",
      "a.test::",
      "a.test:80:443",
      "a.test:4294967376",
      "a.test:8\0"s,
      "a.test:\uff18",
      "a.test:0x50",
      "a.test:8_0",
      "2001:db8::1",
      "2001:db8::1:443",
      "[2001:db8::1]",
      "[::1]:",
      "[::1]x:80",
      "[::1]80",
      "[::1",
      "::1]:80",
      "[]:80",
      "[[::1]]:80",
      "[127.0.0.1]:80",
      "[a.test]:80",
      "[v1.x]:80",
      "[::1%eth0]:80",
      "[::1%25eth0]:80",
      "user@a.test:80",
      "user:pass@a.test:80",
      "a.test:80@b.test",
      "a.test/:80",
      "http://a.test:80",
      "127.1:80",
  };
  for (const std::string& text : cases) EXPECT_EQ(target_of(text), "refused") << text;
  EXPECT_FALSE(Target::parse("a.test:", 443));
  EXPECT_FALSE(Target::parse("[::1]x", 443));
  EXPECT_EQ(Target::parse("a.test:0443", 443).error().why,
            "the port is not a decimal number from 1 to 65535");
  EXPECT_EQ(Target::parse("a.test", std::nullopt).error().why, "the port is missing");
}

TEST(Target, ACanonicalFormIsItsOwnCanonicalForm) {
  for (const std::string text :
       {"api.example.com:443", "192.0.2.1:80", "[2001:db8::1]:443", "xn--bcher-kva.example:1"}) {
    EXPECT_EQ(target_of(text), text);
  }
}

}  // namespace
}  // namespace sluice::allowlists
