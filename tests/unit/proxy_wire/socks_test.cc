#include "proxy/wire/socks.h"

#include <gtest/gtest.h>

namespace sluice::proxy::wire {
namespace {

using namespace std::string_literals;

TEST(SocksGreeting, TellsWhichMethodsAreOffered) {
  const std::string bytes = "\x05\x02\x00\x02rest"s;
  for (std::size_t size = 0; size < 4; ++size) {
    EXPECT_FALSE(parse_socks_greeting(bytes.substr(0, size)).value()) << size;
  }
  const SocksGreeting both = **parse_socks_greeting(bytes);
  EXPECT_TRUE(both.offers_none);
  EXPECT_TRUE(both.offers_password);
  EXPECT_EQ(both.size, 4U);
  const SocksGreeting password = **parse_socks_greeting("\x05\x01\x02");
  EXPECT_FALSE(password.offers_none);
  EXPECT_TRUE(password.offers_password);
  EXPECT_FALSE((**parse_socks_greeting("\x05\x01\xff")).offers_none);
}

TEST(SocksGreeting, IsRefusedInAnotherVersionOrWithoutAMethod) {
  EXPECT_EQ(parse_socks_greeting("\x04").error().why, "this is not SOCKS version 5");
  EXPECT_EQ(parse_socks_greeting("\x05\x00"s).error().why, "the SOCKS client offers no method");
}

TEST(SocksPassword, IsReadWhereverTheBytesAreCut) {
  const std::string bytes =
      "\x01\x07"
      "coder-3"
      "\x06"
      "secret"s;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto early = parse_socks_password(bytes.substr(0, size));
    ASSERT_TRUE(early && !*early) << size;
  }
  const auto found = parse_socks_password(bytes + "\x05\x01");
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->credentials.user, "coder-3");
  EXPECT_EQ((*found)->credentials.password.view(), "secret");
  EXPECT_EQ((*found)->size, bytes.size());

  const std::string longest = "\x01\xff" + std::string(255, 'u') + "\xff" + std::string(255, 'p');
  EXPECT_FALSE(parse_socks_password(longest.substr(0, 512)).value());
  EXPECT_EQ((**parse_socks_password(longest)).credentials.password.view().size(), 255U);
}

TEST(SocksPassword, IsRefusedAsSoonAsAByteIsWrong) {
  struct Case {
    std::string bytes;
    std::string_view why;
  };
  const Case cases[] = {
      {"\x05"s, "this is not version 1 of the SOCKS password exchange"},
      {"\x00\x01"s, "this is not version 1 of the SOCKS password exchange"},
      {"\x01\x00"s, "the SOCKS user name is empty"},
      {"\x01\x01u\x00"s, "the SOCKS password is empty"},
      {"\x01\x02u\0\x01p"s, "the SOCKS user name or password contains a control byte"},
      {"\x01\x01u\x02p\0"s, "the SOCKS user name or password contains a control byte"},
      {"\x01\x02u\n\x01p"s, "the SOCKS user name or password contains a control byte"},
  };
  for (const Case& c : cases) {
    const auto found = parse_socks_password(c.bytes);
    ASSERT_FALSE(found) << c.why;
    EXPECT_EQ(found.error().reason, Reason::bad_request);
    EXPECT_EQ(found.error().why, c.why);
  }
}

TEST(SocksPassword, IsAnsweredInTwoBytes) {
  EXPECT_EQ(socks_password_reply(Accepted::yes), "\x01\x00"s);
  EXPECT_EQ(socks_password_reply(Accepted::no), "\x01\x01"s);
}

TEST(SocksRequest, NamesAHostOrAnAddress) {
  const std::string name = "\x05\x01\x00\x03\x06"s + "a.test" + "\x01\xbb";
  const std::string v4 = "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"s;
  const std::string v6 =
      "\x05\x03\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x16"s;
  for (const std::string& bytes : {name, v4, v6}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto early = parse_socks_request(bytes.substr(0, size));
      ASSERT_TRUE(early && !*early) << size;
    }
    EXPECT_EQ((**parse_socks_request(bytes + "more")).size, bytes.size());
  }
  const SocksRequest by_name = **parse_socks_request(name);
  EXPECT_EQ(std::get<std::string>(by_name.host), "a.test");
  EXPECT_EQ(by_name.port, 443);
  EXPECT_TRUE(by_name.is(SocksCommand::connect));
  EXPECT_EQ(std::get<IpAddress>((**parse_socks_request(v4)).host).to_string(), "192.0.2.1");
  const SocksRequest by_v6 = **parse_socks_request(v6);
  EXPECT_EQ(std::get<IpAddress>(by_v6.host).to_string(), "2001:db8::1");
  EXPECT_TRUE(by_v6.is(SocksCommand::udp_associate));
}

TEST(SocksRequest, KeepsEveryByteOfANameForTheHostParserToJudge) {
  const std::string bytes = "\x05\x01\x00\x03\x0d"s + "evil\0.a.test\n"s + "\x00\x50"s;
  EXPECT_EQ(std::get<std::string>((**parse_socks_request(bytes)).host), "evil\0.a.test\n"s);
}

TEST(SocksRequest, IsRefusedAsSoonAsAByteIsWrong) {
  EXPECT_EQ(parse_socks_request("\x04").error().why, "this is not SOCKS version 5");
  EXPECT_EQ(parse_socks_request("\x05\x01\x01").error().why, "the reserved byte of SOCKS is not 0");
  EXPECT_EQ(parse_socks_request("\x05\x01\x00\x02"s).error().why,
            "the kind of address is not one of SOCKS version 5");
  EXPECT_EQ(parse_socks_request("\x05\x01\x00\x03\x00"s).error().why,
            "the name to connect to is empty");
}

TEST(SocksReply, TellsNothingOfTheWayOut) {
  EXPECT_EQ(socks_method_reply(SocksMethod::none), "\x05\x00"s);
  EXPECT_EQ(socks_method_reply(SocksMethod::not_acceptable), "\x05\xff");
  EXPECT_EQ(socks_reply(SocksReply::succeeded), "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"s);
  EXPECT_EQ(socks_reply(SocksReply::command_not_supported),
            "\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"s);
}

}  // namespace
}  // namespace sluice::proxy::wire
