#include "proxy/wire/basic_auth.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using namespace std::string_literals;
using Kind = ProxyAuthorization::Kind;

std::string base64(std::string_view bytes) {
  constexpr std::string_view letters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(3, bytes.size()))) {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= bytes.size() ? letters[bits >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

WireResult<ProxyAuthorization> read(std::string_view fields) {
  const std::string bytes =
      "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + std::string(fields) + "\r\n";
  return read_proxy_authorization(samples::request(bytes));
}

WireResult<ProxyAuthorization> read_value(std::string_view value) {
  return read("Proxy-Authorization: " + std::string(value) + "\r\n");
}

TEST(ProxyAuthorization, GivesTheNameUpToTheFirstColonAndThePasswordBehindIt) {
  struct Case {
    std::string_view pair, user, password;
  };
  const Case cases[] = {
      {"coder-3:secret", "coder-3", "secret"},
      {"Aladdin:open sesame", "Aladdin", "open sesame"},
      {"a:b:c::", "a", "b:c::"},
      {"a:", "a", ""},
      {":b", "", "b"},
      {":", "", ""},
      {"test:123\xc2\xa3", "test", "123\xc2\xa3"},
      {"x:\xff\xfe", "x", "\xff\xfe"},
  };
  for (const Case& c : cases) {
    const auto found = read_value("Basic " + base64(c.pair));
    ASSERT_TRUE(found) << c.pair << ": " << found.error().why;
    EXPECT_EQ(found->kind, Kind::basic);
    EXPECT_EQ(found->credentials.user, c.user);
    EXPECT_EQ(found->credentials.password.view(), c.password);
  }
  EXPECT_EQ(read_value("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")->credentials.user, "Aladdin");
}

TEST(ProxyAuthorization, HasItsSchemeInAnyCaseAndAnyNumberOfSpacesBehindIt) {
  for (const std::string_view value :
       {"basic YTpi", "BASIC YTpi", "bAsIc   YTpi", "Basic YTpi  "}) {
    const auto found = read_value(value);
    ASSERT_TRUE(found) << value;
    EXPECT_EQ(found->credentials.password.view(), "b") << value;
  }
}

TEST(ProxyAuthorization, IsToldApartFromNoneAndFromOtherSchemes) {
  EXPECT_EQ(read("")->kind, Kind::none);
  EXPECT_EQ(read("Authorization: Basic YTpi\r\n")->kind, Kind::none);
  for (const std::string_view value :
       {"Bearer abc", "Digest username=\"a\", realm=\"x,\\\"\"", "Negotiate", "NTLM TlRMTVNTUAAB",
        "Basic2 YTpi", "Basi YTpi"}) {
    EXPECT_EQ(read_value(value)->kind, Kind::other_scheme) << value;
  }
}

TEST(ProxyAuthorization, IsABadRequestInEverySpellingThatIsNotTheStandards) {
  struct Case {
    std::string fields;
    std::string_view why;
  };
  const auto field = [](const std::string& value) {
    return "Proxy-Authorization: " + value + "\r\n";
  };
  const std::string good = field("Basic YTpi");
  const std::string_view twice = "more than one Proxy-Authorization field";
  const std::string_view no_token = "the scheme in Proxy-Authorization is no token";
  const std::string_view nothing = "Proxy-Authorization has no credentials";
  const std::string_view not_base64 = "the credentials in Proxy-Authorization are not base64";
  const std::string_view no_colon = "the credentials in Proxy-Authorization lack the colon";
  const std::string_view control = "the credentials in Proxy-Authorization contain a control byte";
  const std::string_view too_long = "the credentials in Proxy-Authorization are too long";
  const Case cases[] = {
      {good + good, twice},
      {good + field("Bearer x"), twice},
      {good + "pRoXy-AuThOrIzAtIoN: Basic YTpi\r\n", twice},
      {field(""), no_token},
      {field("Basic=YTpi"), no_token},
      {field("Basic,YTpi"), no_token},
      {field("Basic\tYTpi"), no_token},
      {field("\"Basic\" YTpi"), no_token},
      {field("Ba\xc3\xaf sic"), no_token},
      {field("Basic"), nothing},
      {field("Basic \tYTpi"), not_base64},
      {field("Basic YTpi, Basic YTpi"), not_base64},
      {field("Basic YTpi YTpi"), not_base64},
      {field("Basic YTp"), not_base64},     // cut short
      {field("Basic YTpiYw"), not_base64},  // without its padding
      {field("Basic YTpiYw="), not_base64},
      {field("Basic YTpiYw==="), not_base64},
      {field("Basic YTpiYw==YTpi"), not_base64},  // padding in the middle
      {field("Basic YTpiYx=="), not_base64},      // another spelling of "a:bc"
      {field("Basic YTpiY2R="), not_base64},
      {field("Basic ===="), not_base64},
      {field("Basic Y==="), not_base64},
      {field("Basic YTp-"), not_base64},  // the other alphabet
      {field("Basic YTp_"), not_base64},
      {field("Basic YTp."), not_base64},
      {field("Basic a:b"), not_base64},
      {field("Basic YT\xc3\xb1"), not_base64},
      {field("Basic " + base64("secret")), no_colon},
      {field("Basic " + base64("a\0:b"s)), control},
      {field("Basic " + base64("a:b\0c"s)), control},
      {field("Basic " + base64("a:b\r\nX: y")), control},
      {field("Basic " + base64("a\x1b[31m:b")), control},
      {field("Basic " + base64("a:\x7f")), control},
      {field("Basic " + base64(std::string(longest_user + 1, 'u') + ":p")), too_long},
      {field("Basic " + base64("u:" + std::string(longest_password + 1, 'p'))), too_long},
      {field("Basic " + std::string(8000, 'A')), too_long},
  };
  for (const Case& c : cases) {
    const auto found = read(c.fields);
    ASSERT_FALSE(found) << c.fields;
    EXPECT_EQ(found.error().reason, Reason::bad_request) << c.fields;
    EXPECT_EQ(found.error().why, c.why) << c.fields;
  }
}

TEST(ProxyAuthorization, MayBeAsLongAsItsLimits) {
  const std::string user(longest_user, 'u');
  const std::string password(longest_password, 'p');
  const auto found = read_value("Basic " + base64(user + ":" + password));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->credentials.user, user);
  EXPECT_EQ(found->credentials.password.view(), password);
}

TEST(Secret, LeavesNothingBehindInTheObjectItWasMovedFrom) {
  for (const std::size_t size : {4U, 8U, 15U, 16U, 100U}) {
    alignas(Secret) std::array<char, sizeof(Secret)> room{};
    const std::string text(size, '\x5a');
    auto* from = new (room.data()) Secret(text);
    Secret to(std::move(*from));
    EXPECT_EQ(to.view(), text);
    EXPECT_EQ(from->view(), "");
    from->~Secret();
    // Four in a row: one may be part of an address.
    EXPECT_EQ(std::string_view(room.data(), room.size()).find(text.substr(0, 4)),
              std::string_view::npos)
        << size;
  }
}

}  // namespace
}  // namespace sluice::proxy::wire
