#include "proxy/wire/forward.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

WireResult<std::string> forward(std::string_view bytes, std::string_view authority = "a.test:80",
                                std::string_view origin_form = "/") {
  const RequestHead head = samples::request(bytes);
  const auto target = allowlists::Target::parse(authority, std::nullopt);
  EXPECT_TRUE(target) << authority;
  const auto body = request_body(head);
  EXPECT_TRUE(body);
  return forward_request_head({.head = head,
                               .target = *target,
                               .origin_form = origin_form,
                               .body = *body,
                               .loop_token = "t0k3n"});
}

WireResult<std::string> forward_fields(const std::string& fields,
                                       const std::string& method = "GET") {
  const std::string bytes = method + " / HTTP/1.1\r\nHost: a.test\r\n" + fields + "\r\n";
  return forward(bytes);
}

TEST(ForwardedRequest, HasItsHostFromTheTargetAndNothingOfThisHop) {
  const auto out = forward(
      "POST http://a.test/x HTTP/1.1\r\nHost: evil.test\r\nUser-Agent: u\r\n"
      "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nProxy-Connection: keep-alive\r\n"
      "Keep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: "
      "AA\r\n"
      "Proxy-Authorization: Basic eDp5\r\nTransfer-Encoding: chunked\r\nCookie: c=1\r\n\r\n",
      "a.test:80", "/x");
  EXPECT_EQ(out.value(),
            "POST /x HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\nTrailer: X\r\nCookie: c=1\r\n"
            "Transfer-Encoding: chunked\r\nVia: 1.1 sluice (t0k3n)\r\nTE: trailers\r\n"
            "Connection: TE\r\n\r\n");
}

TEST(ForwardedRequest, NamesEveryPortButItsSchemesOwn) {
  const std::string_view bytes = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto host = [&](std::string_view authority) {
    const std::string out = forward(bytes, authority).value();
    return out.substr(16, out.find("\r\nVia") - 16);
  };
  EXPECT_EQ(host("A.test:80"), "Host: a.test");
  EXPECT_EQ(host("a.test:8080"), "Host: a.test:8080");
  EXPECT_EQ(host("a.test:443"), "Host: a.test:443");
  EXPECT_EQ(host("[2001:db8::80]:80"), "Host: [2001:db8::80]");
}

TEST(ForwardedRequest, IsHttp11WhateverTheAgentSpoke) {
  const auto out = forward(
      "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 007\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(
      out.value(),
      "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 7\r\nVia: 1.0 sluice (t0k3n)\r\n\r\n");
  EXPECT_NE(forward_fields("Expect: 100-continue\r\n").value().find("Expect: 100-continue"),
            std::string::npos);
}

TEST(ForwardedRequest, MayBeTheLastOnItsConnection) {
  const RequestHead head = samples::request("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  const auto target = *allowlists::Target::parse("a.test:80", std::nullopt);
  const auto out = forward_request_head({.head = head,
                                         .target = target,
                                         .origin_form = "/",
                                         .body = {},
                                         .loop_token = "t",
                                         .keep_alive = KeepAlive::no});
  EXPECT_TRUE(out.value().ends_with("Via: 1.1 sluice (t)\r\nConnection: close\r\n\r\n"));
}

TEST(ForwardedRequest, IsNotSentInACircle) {
  for (const std::string via :
       {"Via: 1.1 sluice (t0k3n)\r\n", "via: 1.0 a, 1.1 sluice (t0k3n), 1.1 b\r\n",
        "Via: 1.1 a\r\nVia: 1.1 sluice (t0k3n)\r\n"}) {
    EXPECT_EQ(forward_fields(via).error().reason, Reason::proxy_loop) << via;
  }
  const std::string other = forward_fields("Via: 1.1 sluice (other)\r\n").value();
  EXPECT_NE(other.find("Via: 1.1 sluice (other)\r\nVia: 1.1 sluice (t0k3n)\r\n"),
            std::string::npos);
}

TEST(ForwardedRequest, CountsHopsOfOptions) {
  EXPECT_NE(forward_fields("Max-Forwards: 10\r\n", "OPTIONS").value().find("Max-Forwards: 9\r\n"),
            std::string::npos);
  EXPECT_NE(forward_fields("Max-Forwards: 99999999999\r\n", "OPTIONS")
                .value()
                .find("Max-Forwards: 4294967294\r\n"),
            std::string::npos);
  EXPECT_NE(forward_fields("Max-Forwards: 0\r\n", "GET").value().find("Max-Forwards: 0\r\n"),
            std::string::npos);
  for (const std::string fields :
       {"Max-Forwards: 0\r\n", "Max-Forwards: x\r\n", "Max-Forwards: -1\r\n", "Max-Forwards:\r\n",
        "Max-Forwards: 1\r\nMax-Forwards: 2\r\n"}) {
    EXPECT_EQ(forward_fields(fields, "OPTIONS").error().reason, Reason::bad_request) << fields;
  }
}

TEST(ForwardedRequest, KeepsFieldsThatConnectionMayNotTakeAway) {
  for (const std::string option : {"host", "Content-Length", "transfer-encoding", "Via",
                                   "max-forwards", "a b", "\"x\"", "x;y"}) {
    EXPECT_EQ(forward_fields("Connection: x, " + option + "\r\n").error().reason,
              Reason::bad_request)
        << option;
  }
  std::string many = "Connection: a";
  for (int i = 0; i < 64; ++i) many += ", a";
  EXPECT_FALSE(forward_fields(many + "\r\n"));
}

TEST(ForwardedRequest, IsNeverATraceATunnelOrAnotherForm) {
  EXPECT_FALSE(forward_fields("", "TRACE"));
  EXPECT_FALSE(forward_fields("", "CONNECT"));
  const std::string_view bytes = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const std::string_view form : {"", "*", "http://a.test/", "a"}) {
    EXPECT_FALSE(forward(bytes, "a.test:80", form)) << form;
  }
  EXPECT_TRUE(forward("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "a.test:80", "*"));
}

std::string answer(std::string_view bytes, std::string_view method = "GET",
                   KeepAlive keep_alive = KeepAlive::yes) {
  const ResponseHead head = samples::response(bytes);
  return forward_response_head(
             {.head = head, .request_method = method, .body = response_body(method, head).value()},
             keep_alive)
      .value();
}

TEST(ForwardedResponse, HasNothingOfTheOriginsHop) {
  EXPECT_EQ(
      answer("HTTP/1.0 200 OK\r\nServer: s\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"
             "Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\n"
             "Content-Length: 5, 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"),
      "HTTP/1.1 200 OK\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n"
      "Via: 1.0 sluice\r\nConnection: keep-alive\r\n\r\n");
}

TEST(ForwardedResponse, ClosesWhereOnlyTheCloseEndsTheBody) {
  EXPECT_EQ(answer("HTTP/1.1 200\r\n\r\n"),
            "HTTP/1.1 200 \r\nVia: 1.1 sluice\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(answer("HTTP/1.1 204 No Content\r\n\r\n", "GET", KeepAlive::no),
            "HTTP/1.1 204 No Content\r\nVia: 1.1 sluice\r\nConnection: close\r\n\r\n");
}

TEST(ForwardedResponse, ToHeadTellsTheLengthOfWhatIsNotSent) {
  EXPECT_EQ(
      answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"),
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nVia: 1.1 sluice\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(answer("HTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n"),
            "HTTP/1.1 204 OK\r\nVia: 1.1 sluice\r\nConnection: keep-alive\r\n\r\n");
}

TEST(ForwardedResponse, MayBeInterim) {
  EXPECT_EQ(answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
            "HTTP/1.1 103 Early Hints\r\nLink: x\r\nVia: 1.1 sluice\r\n\r\n");
  const ResponseHead head = samples::response("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  EXPECT_EQ(forward_response_head({head, "GET", {}}, KeepAlive::yes).error().reason,
            Reason::unreachable);
}

}  // namespace
}  // namespace sluice::proxy::wire
