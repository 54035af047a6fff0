#include "proxy/wire/upgrade.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "proxy/wire/forward.h"
#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

WireResult<std::string> offered(std::string_view fields, std::string_view line = "GET / HTTP/1.1") {
  const std::string bytes = fmt::format("{}\r\nHost: a.test\r\n{}\r\n", line, fields);
  const RequestHead head = samples::request(bytes);
  return offered_protocols(head, request_body(head).value());
}

TEST(Upgrade, IsOfferedOnlyWithConnectionUpgradeInHttp11AndWithoutABody) {
  const struct {
    std::string_view fields, line, offered;
  } cases[] = {
      {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "GET / HTTP/1.1", "websocket"},
      {"connection: keep-alive, uPGRADE\r\nupgrade: WebSocket\r\n", "GET / HTTP/1.1", "WebSocket"},
      {"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", "POST / HTTP/1.1",
       "tcp"},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", "GET / HTTP/1.1",
       "websocket"},
      {"Connection: Upgrade\r\nUpgrade: a/1.0,,b\r\nUpgrade: c\r\n", "GET / HTTP/1.1",
       "a/1.0, b, c"},
      {"Upgrade: websocket\r\n", "GET / HTTP/1.1", ""},
      {"Connection: X-Upgrade\r\nUpgrade: websocket\r\n", "GET / HTTP/1.1", ""},
      {"Connection: Upgrade\r\n", "GET / HTTP/1.1", ""},
      {"Connection: Upgrade\r\nUpgrade:\r\n", "GET / HTTP/1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "GET / HTTP/1.0", ""},
      {"Connection: Upgrade, close\r\nUpgrade: websocket\r\n", "GET / HTTP/1.1", ""},
      {"Connection: Upgrade\r\nConnection: close\r\nUpgrade: websocket\r\n", "GET / HTTP/1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", "POST / HTTP/1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
       "POST / HTTP/1.1", ""},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(offered(test.fields, test.line).value(), test.offered) << test.line << test.fields;
  }
}

TEST(Upgrade, ToWhatNamesHostsOutOfSightIsLeftOut) {
  for (const std::string_view protocol :
       {"h2c", "H2C", "h2", "h2c-14", "h3", "HTTP/2.0", "http/1.1", "TLS/1.0", "TLS/1.2", "tls",
        "SSL/3.0", "SPDY/3.1", "connect-udp", "Connect-UDP-listen", "connect-ip", "connect-tcp"}) {
    EXPECT_EQ(offered(fmt::format("Connection: Upgrade\r\nUpgrade: {}\r\n", protocol)).value(), "")
        << protocol;
    const auto both =
        offered(fmt::format("Connection: Upgrade\r\nUpgrade: websocket, {}\r\n", protocol));
    EXPECT_EQ(both.value(), "websocket") << protocol;
  }
}

TEST(Upgrade, ToWhatIsNoProtocolIsABadRequest) {
  for (const std::string_view value :
       {"web socket", "\"websocket\"", "/1", "a/", "a/1/2", "a;b", "websocket\xa0", "a=b"}) {
    const auto refused = offered(fmt::format("Connection: Upgrade\r\nUpgrade: {}\r\n", value));
    ASSERT_FALSE(refused) << value;
    EXPECT_EQ(refused.error().reason, Reason::bad_request);
    EXPECT_EQ(refused.error().why, "the Upgrade field is not a list of protocols");
  }
  std::string many = "a";
  for (int i = 1; i < 16; ++i) many += ",a";
  EXPECT_TRUE(offered("Connection: Upgrade\r\nUpgrade: " + many + "\r\n"));
  EXPECT_EQ(offered("Connection: Upgrade\r\nUpgrade: " + many + ",a\r\n").error().why,
            "the Upgrade field names too many protocols");
}

TEST(Upgrade, IsWrittenAnewWithTheFieldsOfTheNewProtocolUnchanged) {
  const RequestHead head = samples::request(
      "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: X-Hop, Upgrade\r\nX-Hop: 1\r\n"
      "Upgrade: websocket, h2c\r\nHTTP2-Settings: AA\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\r\n");
  const auto target = *allowlists::Target::parse("a.test:80", std::nullopt);
  const std::string offer = offered_protocols(head, {}).value();
  const auto out = forward_request_head({.head = head,
                                         .target = target,
                                         .origin_form = "/chat",
                                         .body = {},
                                         .loop_token = "t",
                                         .upgrade = offer});
  EXPECT_EQ(out.value(),
            "GET /chat HTTP/1.1\r\nHost: a.test\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nVia: 1.1 sluice (t)\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

WireResult<std::string> switched(std::string_view bytes, std::string_view offer) {
  const ResponseHead head = samples::response(bytes);
  return forward_response_head(
      {.head = head, .request_method = "GET", .body = {}, .offered = offer}, KeepAlive::yes);
}

TEST(Switch, IsPassedOnInTheSpellingOfTheOffer) {
  EXPECT_EQ(switched("HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
                     "Connection: X-Hop, upgrade\r\nX-Hop: 1\r\nSec-WebSocket-Accept: x=\r\n\r\n",
                     "tcp, websocket")
                .value(),
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x=\r\nVia: 1.1 sluice\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST(Switch, ThatWasNotOfferedOrHasABodyIsABrokenAnswer) {
  const std::string_view nobody = "the origin switches to a protocol nobody asked for";
  const std::string_view not_one = "the origin does not name one protocol that it switches to";
  const std::string_view a_body = "the origin switches protocols with a body";
  const struct {
    std::string_view fields, offer, why, version = "1.1";
  } cases[] = {
      {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "", nobody},
      {"", "", nobody},
      {"Connection: Upgrade\r\nUpgrade: h2c\r\n", "websocket", nobody},
      {"Connection: Upgrade\r\nUpgrade: websocket/1\r\n", "websocket", nobody},
      {"Connection: Upgrade\r\nUpgrade: web\r\n", "websocket", nobody},
      {"Connection: Upgrade\r\n", "websocket", not_one},
      {"Connection: Upgrade\r\nUpgrade: websocket, tcp\r\n", "websocket, tcp", not_one},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", "websocket", not_one},
      {"Upgrade: websocket\r\n", "websocket",
       "the origin switches protocols without Connection: upgrade"},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", "websocket", a_body},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", "websocket", a_body},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", "websocket",
       a_body},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket",
       "the origin switches protocols in HTTP/1.0", "1.0"},
  };
  for (const auto& test : cases) {
    const auto out =
        switched(fmt::format("HTTP/{} 101 x\r\n{}\r\n", test.version, test.fields), test.offer);
    ASSERT_FALSE(out) << test.fields;
    EXPECT_EQ(out.error().reason, Reason::unreachable);
    EXPECT_EQ(out.error().why, test.why) << test.fields;
  }
}

TEST(Switch, OtherAnswersToAnOfferAreOrdinary) {
  EXPECT_EQ(switched("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
                     "Content-Length: 0\r\n\r\n",
                     "websocket")
                .value(),
            "HTTP/1.1 426 Upgrade Required\r\nVia: 1.1 sluice\r\nConnection: keep-alive\r\n\r\n");
}

}  // namespace
}  // namespace sluice::proxy::wire
