// The rules that HTTP has for a proxy, one a row, in bytes on both sides of a running session.
#include <gmock/gmock.h>

#include "tests/loopback/reloading.h"
#include "tests/loopback/wire_text.h"

namespace sluice::proxy {
namespace {

using netns::Role;
using testing::HasSubstr;
using testing::StartsWith;

// Once the origin has heard `after` at the end, it says `answer`. Each in turn; the last again.
struct Step {
  std::string_view after;
  std::string_view answer;
};

// In all texts: \n is CRLF, \v a bare LF, \f a bare CR, @ the allowed host with its port, \a an @.
struct Rule {
  std::string_view name;  // with the section of RFC 9110 (10-) or RFC 9112 (12-)
  std::string_view request;
  std::vector<Step> origin;
  std::string_view to_origin;
  // "400 bad_request": exactly one refusal of sluice's own.
  std::string_view to_client;
};

void expect_refusal(const std::string& heard, std::string_view expected) {
  const std::string status(expected.substr(0, 3));
  const std::string reason(expected.substr(4));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 " + status + " "));
  EXPECT_THAT(heard, HasSubstr("\r\nDate: now\r\n"));
  EXPECT_THAT(heard, HasSubstr("\r\nProxy-Status: sluice; error="));
  EXPECT_THAT(heard, HasSubstr("details=\"" + reason + "\"\r\n"));
  EXPECT_EQ(heard.find("\nHTTP/1.1 "), std::string::npos) << "one answer and no more: " << heard;
}

bool is_refusal(std::string_view text) { return text.size() > 3 && text[3] == ' '; }

void check(const Rule& rule) {
  SCOPED_TRACE(rule.name);
  Reloading bench;
  std::uint16_t port = 0;
  std::size_t next = 0;
  port = bench.origin([&](const std::string& so_far) -> std::optional<std::string> {
    if (rule.origin.empty()) return std::nullopt;
    const Step& step = rule.origin[std::min(next, rule.origin.size() - 1)];
    if (!so_far.ends_with(wire_text(step.after, port))) return std::nullopt;
    ++next;
    return wire_text(step.answer, port);
  });
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const std::string heard = without_time(bench.talk(Role::proxy, wire_text(rule.request, port)));
  EXPECT_EQ(bench.origin_heard(), wire_text(rule.to_origin, port));
  if (is_refusal(rule.to_client)) {
    expect_refusal(heard, rule.to_client);
  } else {
    EXPECT_EQ(heard, wire_text(rule.to_client, port));
  }
}

void check_all(const std::vector<Rule>& rules) {
  for (const Rule& rule : rules) check(rule);
}

constexpr std::string_view end = "\n\n";
constexpr std::string_view ok = "HTTP/1.1 200 OK\nDate: d\nContent-Length: 2\n\nok";
constexpr std::string_view ok_last =
    "HTTP/1.1 200 OK\nDate: d\nContent-Length: 2\nVia: 1.1 sluice\nConnection: close\n\nok";
const std::vector<Step> says_ok = {{end, ok}};
const std::vector<Step> silent = {};

TEST(HttpRules, OfTargetsAndHosts) {
  check_all({
      {"10-7.2 12-3.2.2 the target names the host, the Host field is rewritten",
       "GET http://@/a?b HTTP/1.1\nHost: evil.test\nConnection: close\n\n", says_ok,
       "GET /a?b HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"12-3.2.1 a target without path has /",
       "GET http://@?q HTTP/1.1\nHost: @\nConnection: close\n\n", says_ok,
       "GET /?q HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"10-7.7 the path is not rewritten",
       "GET http://@/%2e%2e/a//b;c?%00=%41 HTTP/1.1\nHost: @\nConnection: close\n\n", says_ok,
       "GET /%2e%2e/a//b;c?%00=%41 HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"12-3.2.4 OPTIONS without path is OPTIONS *",
       "OPTIONS http://@ HTTP/1.1\nHost: @\nConnection: close\n\n", says_ok,
       "OPTIONS * HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"10-9.1 a method we do not know is sent on",
       "BREW http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n", says_ok,
       "BREW / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"12-3.2 two Host fields", "GET http://@/ HTTP/1.1\nHost: @\nHost: @\n\n", silent, "",
       "400 bad_request"},
      {"12-3.2 no Host field", "GET http://@/ HTTP/1.1\n\n", silent, "", "400 bad_request"},
      {"12-3.2 a Host field that is none", "GET http://@/ HTTP/1.1\nHost: a b\n\n", silent, "",
       "400 bad_request"},
      {"12-3.2.1 origin-form to a proxy", "GET / HTTP/1.1\nHost: @\n\n", silent, "",
       "400 bad_request"},
      {"10-4.2.4 a user name in the target", "GET http://u\a@/ HTTP/1.1\nHost: @\n\n", silent, "",
       "400 bad_request"},
      {"12-3.2 a fragment in the target", "GET http://@/#f HTTP/1.1\nHost: @\n\n", silent, "",
       "400 bad_request"},
      {"10-4.2.2 https is reached by CONNECT", "GET https://@/ HTTP/1.1\nHost: @\n\n", silent, "",
       "400 scheme_not_allowed"},
  });
}

TEST(HttpRules, OfHops) {
  check_all({
      {"10-7.6.2 Max-Forwards of OPTIONS is counted down",
       "OPTIONS http://@/ HTTP/1.1\nHost: @\nMax-Forwards: 1\nConnection: close\n\n", says_ok,
       "OPTIONS / HTTP/1.1\nHost: @\nMax-Forwards: 0\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"10-7.6.2 at 0 the proxy answers itself",
       "OPTIONS http://@/ HTTP/1.1\nHost: @\nMax-Forwards: 0\nConnection: close\n\n", silent, "",
       "HTTP/1.1 200 OK\nDate: now\nProxy-Status: sluice\n"
       "Allow: CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\nCache-Control: no-store\n"
       "Content-Length: 0\nConnection: close\n\n"},
      {"10-7.6.2 but only for whom the policy allows",
       "OPTIONS http://other.test/ HTTP/1.1\nHost: a\nMax-Forwards: 0\nConnection: close\n\n",
       silent, "", "403 not_listed"},
      {"10-7.6.2 more hops than can be counted are as many as can be",
       "OPTIONS http://@/ HTTP/1.1\nHost: @\nMax-Forwards: 99999999999\nConnection: close\n\n",
       says_ok, "OPTIONS / HTTP/1.1\nHost: @\nMax-Forwards: 4294967294\nVia: 1.1 sluice (b00b)\n\n",
       ok_last},
      {"10-7.6.2 Max-Forwards of other methods is not looked at",
       "GET http://@/ HTTP/1.1\nHost: @\nMax-Forwards: 0\nConnection: close\n\n", says_ok,
       "GET / HTTP/1.1\nHost: @\nMax-Forwards: 0\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"10-9.3.8 TRACE is refused: it would show what is added on the way",
       "TRACE http://@/ HTTP/1.1\nHost: @\nMax-Forwards: 0\n\n", silent, "", "400 bad_request"},
      {"10-7.6.3 Via is appended, with the version that was spoken",
       "GET http://@/ HTTP/1.0\nVia: 1.0 fred\n\n",
       {{end, "HTTP/1.0 200 OK\nDate: d\nVia: 1.1 ed\nContent-Length: 2\n\nok"}},
       "GET / HTTP/1.1\nHost: @\nVia: 1.0 fred\nVia: 1.0 sluice (b00b)\n\n",
       "HTTP/1.1 200 OK\nDate: d\nVia: 1.1 ed\nContent-Length: 2\nVia: 1.0 sluice\n"
       "Connection: close\n\nok"},
      {"10-7.6.3 a request of ours that comes back is a loop",
       "GET http://@/ HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b), 1.1 other\n\n", silent, "",
       "508 proxy_loop"},
      {"10-7.6.1 fields of this hop and those that Connection names stay here",
       "GET http://@/ HTTP/1.1\nHost: @\nConnection: close, X-Hop\nX-Hop: 1\nX-End: 1\n"
       "Proxy-Connection: keep-alive\nKeep-Alive: timeout=5\nProxy-Authorization: Basic eA==\n\n",
       {{end,
         "HTTP/1.1 200 OK\nDate: d\nConnection: x-hop\nX-Hop: 1\nX-End: 1\nKeep-Alive: a=1\n"
         "Proxy-Connection: close\nProxy-Authenticate: Basic\nContent-Length: 2\n\nok"}},
       "GET / HTTP/1.1\nHost: @\nX-End: 1\nVia: 1.1 sluice (b00b)\n\n",
       "HTTP/1.1 200 OK\nDate: d\nX-End: 1\nContent-Length: 2\nVia: 1.1 sluice\n"
       "Connection: close\n\nok"},
      {"10-7.6.1 Connection may not name what keeps messages apart",
       "GET http://@/ HTTP/1.1\nHost: @\nConnection: Host\n\n", silent, "", "400 bad_request"},
      {"10-7.8 an upgrade that Connection does not name is no offer",
       "GET http://@/ HTTP/1.1\nHost: @\nUpgrade: websocket\nConnection: close\n\n", says_ok,
       "GET / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
      {"10-10.1.4 of TE we say that trailers pass, and nothing else",
       "GET http://@/ HTTP/1.1\nHost: @\nTE: gzip, trailers\nConnection: TE, close\n\n", says_ok,
       "GET / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\nTE: trailers\nConnection: TE\n\n",
       ok_last},
  });
}

TEST(HttpRules, OfRequestBodies) {
  check_all({
      {"12-6.3 a body by Content-Length",
       "POST http://@/ HTTP/1.1\nHost: @\nContent-Length: 03\nConnection: close\n\nabc",
       {{"abc", ok}},
       "POST / HTTP/1.1\nHost: @\nContent-Length: 3\nVia: 1.1 sluice (b00b)\n\nabc",
       ok_last},
      {"12-7.1.1 chunk extensions are dropped, 10-6.5.1 and trailers that would change the message",
       "POST http://@/ HTTP/1.1\nHost: @\nTransfer-Encoding: chunked\nTrailer: X-Sum\n"
       "Connection: close, X-Hop\n\n3;a=b\nabc\n2 ;c\nde\n0\nX-Sum: 5\nX-Hop: 1\n"
       "Content-Length: 9\nHost: evil\n\n",
       {{"X-Sum: 5\n\n", ok}},
       "POST / HTTP/1.1\nHost: @\nTrailer: X-Sum\nTransfer-Encoding: chunked\n"
       "Via: 1.1 sluice (b00b)\n\n3\nabc\n2\nde\n0\nX-Sum: 5\n\n",
       ok_last},
      {"12-6.1 Content-Length and Transfer-Encoding",
       "POST http://@/ HTTP/1.1\nHost: @\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n",
       silent, "", "400 bad_request"},
      {"12-6.1 a coding that is not exactly chunked",
       "POST http://@/ HTTP/1.1\nHost: @\nTransfer-Encoding: xchunked\n\n0\n\n", silent, "",
       "400 bad_request"},
      {"12-6.1 several codings",
       "POST http://@/ HTTP/1.1\nHost: @\nTransfer-Encoding: gzip, chunked\n\n0\n\n", silent, "",
       "400 bad_request"},
      {"12-6.1 Transfer-Encoding in HTTP/1.0",
       "POST http://@/ HTTP/1.0\nTransfer-Encoding: chunked\n\n0\n\n", silent, "",
       "400 bad_request"},
      {"12-6.3 Content-Length twice",
       "POST http://@/ HTTP/1.1\nHost: @\nContent-Length: 1\nContent-Length: 1\n\na", silent, "",
       "400 bad_request"},
      {"12-6.3 Content-Length as a list",
       "POST http://@/ HTTP/1.1\nHost: @\nContent-Length: 1, 1\n\na", silent, "",
       "400 bad_request"},
      {"10-8.6 Content-Length with a sign",
       "POST http://@/ HTTP/1.1\nHost: @\nContent-Length: +1\n\na", silent, "", "400 bad_request"},
      {"12-7.1 a chunk size of 17 digits",
       "POST http://@/ HTTP/1.1\nHost: @\nTransfer-Encoding: "
       "chunked\n\n00000000000000001\na\n0\n\n",
       silent, "POST / HTTP/1.1\nHost: @\nTransfer-Encoding: chunked\nVia: 1.1 sluice (b00b)\n\n",
       "400 bad_request"},
  });
}

TEST(HttpRules, OfExpectations) {
  constexpr std::string_view asked =
      "PUT http://@/ HTTP/1.1\nHost: @\nExpect: 100-continue\nContent-Length: 3\n"
      "Connection: close\n\n";
  constexpr std::string_view sent =
      "PUT / HTTP/1.1\nHost: @\nExpect: 100-continue\nContent-Length: 3\n"
      "Via: 1.1 sluice (b00b)\n\n";
  check_all({
      {"10-10.1.1 a client that waits gets the final answer, and its connection ends",
       asked,
       {{end, "HTTP/1.1 417 Expectation Failed\nDate: d\nContent-Length: 0\n\n"}},
       sent,
       "HTTP/1.1 417 Expectation Failed\nDate: d\nContent-Length: 0\nVia: 1.1 sluice\n"
       "Connection: close\n\n"},
      {"10-10.1.1 in HTTP/1.0 it means nothing",
       "PUT http://@/ HTTP/1.0\nExpect: 100-continue\nContent-Length: 3\n\nabc",
       {{"abc", ok}},
       "PUT / HTTP/1.1\nHost: @\nContent-Length: 3\nVia: 1.0 sluice (b00b)\n\nabc",
       ok_last},
      {"10-15.2 any number of interim answers",
       "GET http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n",
       {{end,
         "HTTP/1.1 102 Processing\n\nHTTP/1.1 103 Early Hints\nLink: a\nConnection: close\n\n"
         "HTTP/1.1 200 OK\nDate: d\nContent-Length: 2\n\nok"}},
       "GET / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n",
       "HTTP/1.1 102 Processing\nVia: 1.1 sluice\n\nHTTP/1.1 103 Early Hints\nLink: a\n"
       "Via: 1.1 sluice\n\n"
       "HTTP/1.1 200 OK\nDate: d\nContent-Length: 2\nVia: 1.1 sluice\nConnection: close\n\nok"},
      {"10-15.2 none of them to HTTP/1.0",
       "GET http://@/ HTTP/1.0\n\n",
       {{end, "HTTP/1.1 103 Early Hints\n\nHTTP/1.1 200 OK\nDate: d\nContent-Length: 2\n\nok"}},
       "GET / HTTP/1.1\nHost: @\nVia: 1.0 sluice (b00b)\n\n",
       ok_last},
      {"10-15.2.2 a switch of protocols that nobody asked for",
       "GET http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n",
       {{end, "HTTP/1.1 101 Switching\nConnection: Upgrade\nUpgrade: x\n\n"}},
       "GET / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n",
       "502 unreachable"},
  });
}

// The request and what becomes of it, where only the answer matters.
Rule answered(std::string_view name, std::string_view answer, std::string_view to_client,
              bool head = false) {
  const std::string_view request = head ? "HEAD http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n"
                                        : "GET http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n";
  const std::string_view sent = head ? "HEAD / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n"
                                     : "GET / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n";
  return {name, request, {{end, answer}}, sent, to_client};
}

TEST(HttpRules, OfResponses) {
  constexpr bool to_head = true;
  check_all({
      answered("10-9.3.2 the length of an answer to HEAD is told, and nothing follows",
               "HTTP/1.1 200 OK\nDate: d\nContent-Length: 9\n\n",
               "HTTP/1.1 200 OK\nDate: d\nContent-Length: 9\nVia: 1.1 sluice\nConnection: "
               "close\n\n",
               to_head),
      answered("10-8.6 204 has no Content-Length",
               "HTTP/1.1 204 No Content\nDate: d\nContent-Length: 5\n\n",
               "HTTP/1.1 204 No Content\nDate: d\nVia: 1.1 sluice\nConnection: close\n\n"),
      answered("10-15.4.5 304 tells the length of what it does not send",
               "HTTP/1.1 304 Not Modified\nDate: d\nContent-Length: 5\n\n",
               "HTTP/1.1 304 Not Modified\nDate: d\nContent-Length: 5\nVia: 1.1 sluice\n"
               "Connection: close\n\n"),
      answered("12-6.3 205 ends where its fields say",
               "HTTP/1.1 205 Reset Content\nDate: d\nContent-Length: 0\n\n",
               "HTTP/1.1 205 Reset Content\nDate: d\nContent-Length: 0\nVia: 1.1 sluice\n"
               "Connection: close\n\n"),
      answered("10-6.6.1 a Date is added where there is none",
               "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
               "HTTP/1.1 200 OK\nDate: now\nContent-Length: 2\nVia: 1.1 sluice\nConnection: "
               "close\n\nok"),
      answered("RFC 9209 2 what other proxies say of themselves passes",
               "HTTP/1.1 502 Bad\nDate: d\nProxy-Status: other; error=dns_error\n"
               "Content-Length: 2\n\nok",
               "HTTP/1.1 502 Bad\nDate: d\nProxy-Status: other; error=dns_error\n"
               "Content-Length: 2\nVia: 1.1 sluice\nConnection: close\n\nok"),
      answered("10-5.3 several lines of a field stay so, in order",
               "HTTP/1.1 200\nDate: d\nSet-Cookie: a\nX: 1\nset-cookie: b\nContent-Length: 2\n\nok",
               "HTTP/1.1 200 \nDate: d\nSet-Cookie: a\nX: 1\nset-cookie: b\nContent-Length: 2\n"
               "Via: 1.1 sluice\nConnection: close\n\nok"),
      answered("12-6.3 one length, repeated, is that length",
               "HTTP/1.1 200 OK\nDate: d\nContent-Length: 2, 2\nContent-Length: 2\n\nok", ok_last),
      answered("12-6.3 two lengths are none",
               "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\nok", "502 unreachable"),
      answered("12-6.1 Content-Length and Transfer-Encoding of an origin",
               "HTTP/1.1 200 OK\nContent-Length: 2\nTransfer-Encoding: chunked\n\n0\n\n",
               "502 unreachable"),
      answered("12-7.1.2 trailers pass, but none of this hop and none that change the message",
               "HTTP/1.1 200 OK\nDate: d\nTrailer: X-Sum\nConnection: X-Hop\n"
               "Transfer-Encoding: chunked\n\n2;x\nok\n0\nX-Sum: 2\nX-Hop: 1\nSet-Cookie: c\n\n",
               "HTTP/1.1 200 OK\nDate: d\nTrailer: X-Sum\nTransfer-Encoding: chunked\n"
               "Via: 1.1 sluice\nConnection: close\n\n2\nok\n0\nX-Sum: 2\n\n"),
      answered("12-5.2 a folded line of an origin", "HTTP/1.1 200 OK\nA: b\n c\n\n",
               "502 unreachable"),
      answered("12-2.2 a bare LF of an origin", "HTTP/1.1 200 OK\vA: b\n\n", "502 unreachable"),
      answered("12-4 a status of four digits", "HTTP/1.1 2000 OK\n\n", "502 unreachable"),
      answered("12-2.3 another protocol", "HTTP/2.0 200 OK\n\n", "502 unreachable"),
      {"12-6.1 an agent of HTTP/1.0 gets no chunks, and the end by the close",
       "GET http://@/ HTTP/1.0\nConnection: keep-alive\n\n",
       {{end,
         "HTTP/1.1 200 OK\nDate: d\nTrailer: X\nTransfer-Encoding: chunked\n\n2\nok\n0\nX: 1\n\n"}},
       "GET / HTTP/1.1\nHost: @\nVia: 1.0 sluice (b00b)\n\n",
       "HTTP/1.1 200 OK\nDate: d\nVia: 1.1 sluice\nConnection: close\n\nok"},
  });
}

TEST(HttpRules, OfLines) {
  check_all({
      {"12-5.2 a folded line", "GET http://@/ HTTP/1.1\nHost: @\nA: b\n c\n\n", silent, "",
       "400 bad_request"},
      {"12-2.2 a bare LF", "GET http://@/ HTTP/1.1\vHost: @\n\n", silent, "", "400 bad_request"},
      {"12-2.2 a bare CR", "GET http://@/ HTTP/1.1\nHost: @\nA: b\fc\n\n", silent, "",
       "400 bad_request"},
      {"12-5.1 white space before the colon", "GET http://@/ HTTP/1.1\nHost : @\n\n", silent, "",
       "400 bad_request"},
      {"12-2.3 HTTP/0.9", "GET /\n\n", silent, "", "400 bad_request"},
      {"12-2.3 the preface of HTTP/2", "PRI * HTTP/2.0\n\nSM\n\n", silent, "", "400 bad_request"},
      {"12-2.3 a version that does not exist", "GET http://@/ HTTP/1.2\nHost: @\n\n", silent, "",
       "400 bad_request"},
      {"12-2.2 one empty line before the request",
       "\nGET http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n", says_ok,
       "GET / HTTP/1.1\nHost: @\nVia: 1.1 sluice (b00b)\n\n", ok_last},
  });
}

}  // namespace
}  // namespace sluice::proxy
