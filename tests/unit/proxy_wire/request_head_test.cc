#include "proxy/wire/request_head.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using namespace std::string_literals;

constexpr std::string_view plain =
    "GET http://a.test/x?y=1 HTTP/1.1\r\nHost: a.test\r\nX-One:  two words \t\r\nEmpty:\r\n\r\n";

tl::expected<std::optional<RequestHead>, WireError> parse(std::string_view bytes,
                                                          const HeadLimits& limits = {}) {
  std::size_t scanned = 0;
  return parse_request_head(bytes, limits, scanned);
}

TEST(RequestHead, IsReadIntoMethodTargetAndFields) {
  const std::string bytes = std::string(plain) + "body";
  const RequestHead head = samples::request(bytes);
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.target, "http://a.test/x?y=1");
  EXPECT_EQ(head.minor, 1);
  EXPECT_EQ(head.size, plain.size());
  ASSERT_EQ(head.fields.size(), 3U);
  EXPECT_EQ(head.fields[1].name, "X-One");
  EXPECT_EQ(head.find("x-one"), "two words");
  EXPECT_EQ(head.find("empty"), "");
  EXPECT_EQ(head.find("absent"), std::nullopt);
  EXPECT_EQ(head.count("HOST"), 1U);
}

TEST(RequestHead, MayArriveInAnyPieces) {
  for (std::size_t cut = 0; cut < plain.size(); ++cut) {
    std::size_t scanned = 0;
    const auto early = parse_request_head(plain.substr(0, cut), {}, scanned);
    ASSERT_TRUE(early && !*early) << cut;
    ASSERT_LE(scanned, cut);
    const auto late = parse_request_head(plain, {}, scanned);
    ASSERT_TRUE(late && *late) << cut;
    EXPECT_EQ((*late)->size, plain.size());
  }
  std::size_t scanned = 0;
  for (std::size_t size = 0; size < plain.size(); ++size) {
    const auto head = parse_request_head(plain.substr(0, size), {}, scanned);
    ASSERT_TRUE(head && !*head) << size;
    ASSERT_GE(scanned + 1, size) << "what was looked at is not looked at again";
  }
  EXPECT_TRUE(parse_request_head(plain, {}, scanned).value());
}

TEST(RequestHead, IsRefusedForWhatAnotherParserCouldReadDifferently) {
  struct Case {
    std::string bytes;
    std::string_view why;
  };
  const Case cases[] = {
      {"GET / HTTP/1.1\nHost: a\r\n\r\n", "a line ends in LF without CR"},
      {"GET / HTTP/1.1\r\nHost: a\n\r\n", "a line ends in LF without CR"},
      {"GET / HTTP/1.1\r\nHost: a\r\n\n", "a line ends in LF without CR"},
      {"GET / HTTP/1.1\rHost: a", "a CR stands without LF"},
      {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "a CR stands without LF"},
      {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "a CR stands without LF"},
      {"\n", "a line ends in LF without CR"},
      {"\r\n\r\n", "more than one empty line stands before the message"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
       "a header line begins with white space (obs-fold)"},
      {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "a header line begins with white space (obs-fold)"},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
       "a header name has white space or other bytes that no name may have"},
      {"GET / HTTP/1.1\r\nHo st: a\r\n\r\n",
       "a header name has white space or other bytes that no name may have"},
      {"GET / HTTP/1.1\r\n: a\r\n\r\n",
       "a header name has white space or other bytes that no name may have"},
      {"GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n"s,
       "a header name has white space or other bytes that no name may have"},
      {"GET / HTTP/1.1\r\nHost\r\n\r\n", "a header line has no colon"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"s, "a header value has a control byte"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", "a header value has a control byte"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", "a header value has a control byte"},
      {"GET / HTTP/1.1\r\n\r\n", "there is no Host field"},
      {"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "there is more than one Host field"},
      {"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", "there is more than one Host field"},
  };
  for (const Case& wrong : cases) {
    const auto head = parse(wrong.bytes);
    ASSERT_FALSE(head) << wrong.bytes;
    EXPECT_EQ(head.error().reason, Reason::bad_request);
    EXPECT_EQ(head.error().why, wrong.why) << wrong.bytes;
  }
}

TEST(RequestLine, IsMethodTargetVersionWithSingleSpaces) {
  const std::string wrong[] = {"GET  / HTTP/1.1",
                               " GET / HTTP/1.1",
                               "GET / HTTP/1.1 ",
                               "GET /  HTTP/1.1",
                               "GET\t/ HTTP/1.1",
                               "GET / HTTP/1.2",
                               "GET / HTTP/2.0",
                               "GET / http/1.1",
                               "GET / HTTP/01.1",
                               "GET / HTTP/1.1x",
                               "GET /",
                               "GET",
                               "GET / a HTTP/1.1",
                               "G@T / HTTP/1.1",
                               "GET /a#b HTTP/1.1",
                               "GET /\x7f HTTP/1.1",
                               "GET /\xc3\xa4 HTTP/1.1",
                               "GET /a\tb HTTP/1.1",
                               "PRI * HTTP/2.0",
                               "GET /\0 HTTP/1.1"s,
                               "GET HTTP/1.1",
                               "GET / HTTP/0.9",
                               "GET / HTTP/1.1\xc2\xa0"};
  for (const std::string& line : wrong) {
    const auto head = parse(line + "\r\nHost: a\r\n\r\n");
    ASSERT_FALSE(head) << line;
    EXPECT_EQ(head.error().reason, Reason::bad_request);
  }
  EXPECT_FALSE(parse("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
}

TEST(RequestHead, HasAHostThatLooksLikeAnAuthority) {
  for (const std::string_view good :
       {"a", "a.test", "a.test:80", "[::1]", "[::1]:443", "192.0.2.1", "a_b.test", "A.TEST."}) {
    EXPECT_TRUE(parse("GET / HTTP/1.1\r\nHost: " + std::string(good) + "\r\n\r\n")) << good;
  }
  for (const std::string_view bad :
       {"",     "a b",      "a, b",       "u@a",    "a:",       "a:80x",        "a:+80",
        "a:-1", "a:123456", ":80",        "a/b",    "a\\b",     "[a.test]",     "[]",
        "[::1", "::1",      "[::1%eth0]", "[::1]x", "a:80:443", "\xe3\x80\x82", "a?b"}) {
    const auto head = parse("GET / HTTP/1.1\r\nHost: " + std::string(bad) + "\r\n\r\n");
    ASSERT_FALSE(head) << bad;
    EXPECT_EQ(head.error().why, "the Host field is not a host with an optional port");
  }
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\n\r\n").value());
}

TEST(RequestHead, MayFollowOneEmptyLine) {
  const RequestHead head = samples::request("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nrest");
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.size, std::string_view("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").size());
}

TEST(RequestHead, IsRefusedAtItsLimits) {
  const std::string front = "GET / HTTP/1.1\r\nHost: a\r\n";
  const std::string exact = front + "X: " + std::string(100 - front.size() - 7, 'x') + "\r\n\r\n";
  ASSERT_EQ(exact.size(), 100U);
  EXPECT_TRUE(parse(exact, {.bytes = 100, .fields = 2}).value());
  for (const HeadLimits limits : {HeadLimits{99, 2}, HeadLimits{100, 1}}) {
    const auto head = parse(exact, limits);
    ASSERT_FALSE(head);
    EXPECT_EQ(head.error().reason, Reason::header_too_large);
  }
  // It does not wait for the end of a header that cannot fit.
  EXPECT_EQ(parse(std::string(65536, 'x')).error().reason, Reason::header_too_large);
  EXPECT_FALSE(parse(std::string(65535, 'x')).value());
  EXPECT_EQ(parse(front + "X: " + std::string(1 << 20, 'x')).error().reason,
            Reason::header_too_large);
  std::string many = front;
  for (int i = 0; i < 10000; ++i) many += "X: y\r\n";
  EXPECT_EQ(parse(many + "\r\n").error().reason, Reason::header_too_large);
}

TEST(AbsoluteForm, IsCutIntoAuthorityAndPath) {
  struct Case {
    std::string_view target, authority, path, origin_form;
  };
  const Case cases[] = {
      {"http://a.test/x?y", "a.test", "/x?y", "/x?y"},
      {"HTTP://A.test:8080/", "A.test:8080", "/", "/"},
      {"http://a.test", "a.test", "", "/"},
      {"http://a.test?q=1", "a.test", "?q=1", "/?q=1"},
      {"http://[::1]:80/%2e%2e/", "[::1]:80", "/%2e%2e/", "/%2e%2e/"},
      {"http://a.test/u@b.test", "a.test", "/u@b.test", "/u@b.test"},
  };
  for (const Case& right : cases) {
    const auto form = parse_absolute_form(right.target);
    ASSERT_TRUE(form) << right.target;
    EXPECT_EQ(form->authority, right.authority);
    EXPECT_EQ(form->path_and_query, right.path);
    EXPECT_EQ(form->origin_form("GET"), right.origin_form);
  }
  EXPECT_EQ(parse_absolute_form("http://a.test")->origin_form("OPTIONS"), "*");
  EXPECT_EQ(parse_absolute_form("http://a.test/")->origin_form("OPTIONS"), "/");
}

TEST(AbsoluteForm, IsTheOnlyFormAProxyAnswersAndItsSchemeIsHttp) {
  struct Case {
    std::string_view target;
    Reason reason;
  };
  const Case cases[] = {
      {"/", Reason::bad_request},
      {"/http://a.test/", Reason::bad_request},
      {"//a.test/", Reason::bad_request},
      {"*", Reason::bad_request},
      {"a.test:80", Reason::bad_request},
      {"a.test", Reason::bad_request},
      {"://a.test/", Reason::bad_request},
      {"1http://a.test/", Reason::bad_request},
      {"http:/a.test/", Reason::bad_request},
      {"http:a.test", Reason::bad_request},
      {"http:\\\\a.test", Reason::bad_request},
      {"http://", Reason::bad_request},
      {"http:///x", Reason::bad_request},
      {"http://?x", Reason::bad_request},
      {"http://u:p@a.test/", Reason::bad_request},
      {"http://a.test@b.test/", Reason::bad_request},
      {"http://b.test\\@a.test/", Reason::bad_request},
      {"http://@a.test/", Reason::bad_request},
      {"https://a.test/", Reason::scheme_not_allowed},
      {"ftp://a.test/", Reason::scheme_not_allowed},
      {"file:///etc/passwd", Reason::scheme_not_allowed},
      {"gopher://a.test/", Reason::scheme_not_allowed},
      {"ws://a.test/", Reason::scheme_not_allowed},
  };
  for (const Case& wrong : cases) {
    const auto form = parse_absolute_form(wrong.target);
    ASSERT_FALSE(form) << wrong.target;
    EXPECT_EQ(form.error().reason, wrong.reason) << wrong.target;
  }
  EXPECT_EQ(parse_absolute_form("/").error().why,
            "a request to a proxy must name the whole URL, as in http://example.com/");
}

TEST(MessageHead, LivesOnOnlyInHttp11WithoutConnectionClose) {
  const auto keeps = [](const std::string& version, const std::string& fields) {
    const std::string bytes = "GET / HTTP/" + version + "\r\nHost: a\r\n" + fields + "\r\n";
    return samples::request(bytes).keeps_alive();
  };
  EXPECT_TRUE(keeps("1.1", ""));
  EXPECT_TRUE(keeps("1.1", "Connection: keep-alive\r\n"));
  EXPECT_FALSE(keeps("1.1", "Connection: x, Close\r\n"));
  EXPECT_FALSE(keeps("1.1", "Connection: x\r\nconnection: ,close\r\n"));
  EXPECT_TRUE(keeps("1.1", "Connection: closer\r\n"));
  EXPECT_FALSE(keeps("1.0", "Connection: keep-alive\r\n"));
}

}  // namespace
}  // namespace sluice::proxy::wire
