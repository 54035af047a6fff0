#include <fmt/core.h>
#include <gmock/gmock.h>

#include "tests/loopback/bench.h"

namespace sluice::proxy {
namespace {

using netns::Role;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Opens 127.0.0.1 on every port, so that allowed names may lead to the origin of the test.
std::string allow_on(std::uint16_t port, std::string_view tls = "match") {
  return fmt::format(
      "      - {{host: allowed.test, ports: [{0}], tls: {1}}}\n"
      "      - {{cidr: 127.0.0.1/32, ports: [{0}]}}\n",
      port, tls);
}

// The port has to be known before the policy that names it.
std::uint16_t free_port() {
  asio::io_context io;
  const asio::ip::tcp::acceptor probe(io, {asio::ip::address_v4::loopback(), 0});
  return probe.local_endpoint().port();
}

Bench::AnswerTo http_ok(std::string body) {
  return [body = std::move(body)](const std::string& so_far) -> std::optional<std::string> {
    if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
  };
}

std::string get(std::string_view host, std::uint16_t port, std::string_view more = "") {
  return fmt::format("GET http://{}:{}/x HTTP/1.1\r\nHost: {}:{}\r\n{}\r\n", host, port, host, port,
                     more);
}

constexpr std::string_view nothing_allowed = "      - {host: elsewhere.test}\n";

// Bench whose allow list names the port of its own origin.
class OnePort : public Bench {
 public:
  explicit OnePort(AnswerTo answer, bool closes = false, std::string_view tls = "match")
      : OnePort(free_port(), std::move(answer), closes, tls) {}
  const std::uint16_t port;

 private:
  OnePort(std::uint16_t open, AnswerTo answer, bool closes, std::string_view tls)
      : Bench(allow_on(open, tls)), port(origin_at(open, std::move(answer), closes)) {}
  std::uint16_t origin_at(std::uint16_t open, AnswerTo answer, bool closes) {
    origin_on(open, std::move(answer), closes);
    return open;
  }
};

TEST(Http, CarriesAnAllowedRequestAndItsResponse) {
  OnePort bench(http_ok("hello"));
  const std::string heard =
      bench.talk(Role::proxy, get("allowed.test", bench.port, "Connection: close\r\n"));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(heard, HasSubstr("\r\n\r\nhello"));
  EXPECT_THAT(bench.origin_heard(), StartsWith("GET /x HTTP/1.1\r\n"));
  EXPECT_THAT(bench.origin_heard(),
              HasSubstr(fmt::format("Host: allowed.test:{}\r\n", bench.port)));
  EXPECT_EQ(bench.totals().allowed, 1U);
}

TEST(Http, JudgesASecondRequestOnTheConnectionAnew) {
  OnePort bench(http_ok("hello"));
  const std::string heard =
      bench.talk(Role::proxy, get("allowed.test", bench.port) +
                                  get("other.test", bench.port, "Connection: close\r\n"));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(heard, HasSubstr("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(heard, HasSubstr("details=\"not_listed\""));
  EXPECT_THAT(bench.origin_heard(), Not(HasSubstr("other.test")));
}

TEST(Http, KeepsOneConnectionToTheOriginForSeveralRequests) {
  OnePort bench(http_ok("hello"));
  const std::string heard =
      bench.talk(Role::proxy, get("allowed.test", bench.port) + get("allowed.test", bench.port) +
                                  get("allowed.test", bench.port, "Connection: close\r\n"));
  EXPECT_EQ(bench.origin_connections(), 1);
  EXPECT_EQ(bench.totals().allowed, 3U);
  EXPECT_THAT(heard, HasSubstr("Connection: close"));
}

TEST(Http, TriesOnceMoreWhenAKeptOriginConnectionHadBeenClosed) {
  OnePort bench(http_ok("hello"), /*closes=*/true);
  const std::string heard =
      bench.talk(Role::proxy, get("allowed.test", bench.port) +
                                  get("allowed.test", bench.port, "Connection: close\r\n"));
  EXPECT_EQ(bench.origin_connections(), 2);
  EXPECT_EQ(bench.totals().allowed, 2U) << heard;
}

TEST(Http, SendsABodyThatArrivesByteByByte) {
  OnePort bench([](const std::string& so_far) -> std::optional<std::string> {
    if (!so_far.ends_with("0\r\n\r\n")) return std::nullopt;
    return "HTTP/1.1 204 No Content\r\n\r\n";
  });
  const std::string request = fmt::format(
      "POST http://allowed.test:{0}/up HTTP/1.1\r\nHost: allowed.test:{0}\r\nConnection: close\r\n"
      "Transfer-Encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
      bench.port);
  const std::string heard = bench.talk(Role::proxy, request, 1);
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(bench.origin_heard(), Not(HasSubstr("name=value")));
}

TEST(Http, RefusesABodyWhoseChunksAreBrokenAndSendsNoHalfAnswer) {
  Bench::AnswerTo silent = [](const std::string&) { return std::nullopt; };
  OnePort quiet(silent);
  const std::string heard = quiet.talk(
      Role::proxy,
      fmt::format("POST http://allowed.test:{0}/up HTTP/1.1\r\nHost: allowed.test:{0}\r\n"
                  "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                  quiet.port));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 400 Bad Request\r\n"));
}

TEST(Http, PassesAResponseThatEndsWithItsConnection) {
  OnePort bench(
      [](const std::string& so_far) -> std::optional<std::string> {
        if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
        return "HTTP/1.0 200 OK\r\n\r\nuntil the end";
      },
      /*closes=*/true);
  const std::string heard = bench.talk(Role::proxy, get("allowed.test", bench.port));
  EXPECT_THAT(heard, HasSubstr("until the end"));
}

TEST(Http, SaysThatAnOriginSentNoResponse) {
  OnePort bench(
      [](const std::string& so_far) -> std::optional<std::string> {
        if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
        return "nonsense\r\n\r\n";
      },
      /*closes=*/true);
  const std::string heard =
      bench.talk(Role::proxy, get("allowed.test", bench.port, "Connection: close\r\n"));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
  EXPECT_THAT(heard, HasSubstr("details=\"unreachable\""));
}

TEST(Http, RefusesPlainHttpWhereTlsIsRequired) {
  OnePort bench(http_ok("hello"), false, "require");
  const std::string heard =
      bench.talk(Role::proxy, get("allowed.test", bench.port, "Connection: close\r\n"));
  EXPECT_THAT(heard, HasSubstr("details=\"not_tls\""));
  EXPECT_EQ(bench.origin_connections(), 0);
}

TEST(Connect, SaysTwoHundredOnlyWhenTheOriginIsConnected) {
  Bench bench(allow_on(1));  // nobody listens there
  const std::string heard =
      bench.talk(Role::proxy, "CONNECT allowed.test:1 HTTP/1.1\r\nHost: allowed.test:1\r\n\r\n");
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
  EXPECT_THAT(heard, HasSubstr("details=\"connect_refused\""));
}

TEST(Connect, ReadsNothingAfterARefusalAsARequest) {
  OnePort bench(http_ok("hello"));
  const std::string heard =
      bench.talk(Role::proxy, "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n" +
                                  get("allowed.test", bench.port));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_EQ(heard.find("HTTP/1.1", 1), std::string::npos) << heard;
  EXPECT_EQ(bench.origin_connections(), 0);
}

TEST(Connect, RefusesWhatIsNoHostAndPort) {
  Bench bench(nothing_allowed);
  for (const std::string_view target :
       {"allowed.test", "allowed.test:", "allowed.test:0", "allowed.test:65536", "allowed.test:+80",
        "allowed.test:080", "allowed.test:80x", "allowed.test:80:443", "allowed.test@evil.test:443",
        "[allowed.test]:443", "0x7f.1:80", "127.1:80", "2130706433:80", "[::1%eth0]:80"}) {
    const std::string heard = bench.talk(
        Role::proxy, fmt::format("CONNECT {0} HTTP/1.1\r\nHost: x.test\r\n\r\n", target));
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 400 Bad Request\r\n")) << target;
  }
}

TEST(Connect, RefusesPlainBytesOnPort443AndTheOriginHearsNothing) {
  OnePort bench(http_ok("hello"), false, "require");
  const std::string heard = bench.talk(
      Role::proxy, fmt::format("CONNECT allowed.test:{0} HTTP/1.1\r\nHost: a.test\r\n\r\n"
                               "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
                               bench.port));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(heard, HasSubstr("details=\"not_tls\""));
  EXPECT_EQ(bench.origin_heard(), "");
}

TEST(Connect, JudgesPlainHttpInsideATunnelRequestByRequest) {
  OnePort bench(http_ok("hello"));
  const std::string heard = bench.talk(
      Role::proxy, fmt::format("CONNECT allowed.test:{0} HTTP/1.1\r\nHost: a.test\r\n\r\n"
                               "GET /1 HTTP/1.1\r\nHost: allowed.test:{0}\r\n\r\n"
                               "GET /2 HTTP/1.1\r\nHost: other.test:{0}\r\n\r\n",
                               bench.port));
  EXPECT_THAT(heard, HasSubstr("hello"));
  EXPECT_THAT(heard, HasSubstr("details=\"host_mismatch\""));
  EXPECT_THAT(bench.origin_heard(), Not(HasSubstr("/2")));
}

TEST(Connect, RelaysAnOriginThatSpeaksFirst) {
  OnePort bench([](const std::string& so_far) -> std::optional<std::string> {
    if (so_far.empty()) return "SSH-2.0-origin\r\n";
    return so_far == "SSH-2.0-agent\r\n" ? std::optional<std::string>("ok") : std::nullopt;
  });
  const std::string heard = bench.talk(
      Role::proxy,
      fmt::format("CONNECT allowed.test:{0} HTTP/1.1\r\nHost: a.test\r\n\r\n", bench.port),
      SIZE_MAX,
      [](const std::string& so_far) { return so_far.find("SSH-2.0-origin") != std::string::npos; });
  EXPECT_THAT(heard, HasSubstr("SSH-2.0-origin\r\n"));
}

// A ClientHello with this SNI and nothing else of interest.
std::string client_hello(std::string_view name) {
  const auto u16 = [](std::size_t n) {
    return std::string{static_cast<char>(n >> 8), static_cast<char>(n)};
  };
  const std::string entry = std::string(1, '\0') + u16(name.size()) + std::string(name);
  const std::string list = u16(entry.size()) + entry;
  const std::string extension = u16(0) + u16(list.size()) + list;
  const std::string body = "\x03\x03" + std::string(32, 'r') + std::string(1, '\0') + u16(2) +
                           "\x13\x01" + std::string("\x01\x00", 2) + u16(extension.size()) +
                           extension;
  const std::string message = std::string("\x01\x00", 2) + u16(body.size()) + body;
  return "\x16\x03\x01" + u16(message.size()) + message;
}

TEST(Tunnel, GoesOnlyToTheNameThatItsClientHelloSays) {
  for (const std::string_view tls : {"require", "match"}) {
    for (const std::size_t piece : {std::size_t{1}, SIZE_MAX}) {
      Bench::AnswerTo origin = [](const std::string& so_far) -> std::optional<std::string> {
        return so_far.size() > 40 ? std::optional<std::string>("server hello") : std::nullopt;
      };
      OnePort right(origin, true, tls);
      const std::string connect =
          fmt::format("CONNECT allowed.test:{} HTTP/1.1\r\nHost: a.test\r\n\r\n", right.port);
      EXPECT_THAT(right.talk(Role::proxy, connect + client_hello("Allowed.TEST."), piece),
                  HasSubstr("server hello"));
      OnePort wrong(origin, true, tls);
      const std::string heard = wrong.talk(
          Role::proxy,
          fmt::format("CONNECT allowed.test:{} HTTP/1.1\r\nHost: a.test\r\n\r\n", wrong.port) +
              client_hello("evil.test"),
          piece);
      EXPECT_THAT(heard, HasSubstr(std::string("\x15\x03\x03\x00\x02\x02\x31", 7)))
          << "a fatal access_denied";
      EXPECT_EQ(wrong.origin_heard(), "") << tls;
    }
  }
}

TEST(Socks, ConnectsByNameAndRefusesOtherNamesCommandsAndVersions) {
  OnePort bench(http_ok("hello"));
  const auto request = [&](std::string_view name, char command = 1) {
    return std::string("\x05\x01\x00\x05", 4) + command + std::string(1, '\0') + '\x03' +
           static_cast<char>(name.size()) + std::string(name) + static_cast<char>(bench.port >> 8) +
           static_cast<char>(bench.port);
  };
  const std::string http = fmt::format(
      "GET /x HTTP/1.1\r\nHost: allowed.test:{}\r\nConnection: close\r\n\r\n", bench.port);
  const std::string granted = bench.talk(Role::proxy, request("allowed.test") + http, 1);
  EXPECT_THAT(granted, StartsWith(std::string("\x05\x00\x05\x00", 4)));
  EXPECT_THAT(granted, HasSubstr("hello"));
  EXPECT_THAT(bench.talk(Role::proxy, request("other.test")),
              StartsWith(std::string("\x05\x00\x05\x02", 4)));
  EXPECT_THAT(bench.talk(Role::proxy, request("allowed.test", 3)),
              StartsWith(std::string("\x05\x00\x05\x07", 4)));
  EXPECT_THAT(bench.talk(Role::proxy, request(std::string_view("a\0allowed.test", 14))),
              StartsWith(std::string("\x05\x00\x05\x02", 4)));
  EXPECT_EQ(bench.talk(Role::proxy, std::string("\x05\x01\x02", 3)), "\x05\xff");
  EXPECT_THAT(bench.talk(Role::proxy, std::string("\x04\x01\x00\x50\x7f\x00\x00\x01\x00", 9)),
              StartsWith(std::string("\0\x5b", 2)));
}

TEST(Dial, RefusesANameThatLeadsToAnAddressNoRuleOpens) {
  Bench bench("      - {host: inner.test, ports: [80]}\n      - {host: meta.test}\n",
              "127.0.0.1 inner.test\n169.254.169.254 meta.test\n");
  EXPECT_THAT(bench.talk(Role::proxy, get("inner.test", 80, "Connection: close\r\n")),
              HasSubstr("details=\"address_private\""));
  EXPECT_THAT(bench.talk(Role::proxy, get("meta.test", 80, "Connection: close\r\n")),
              HasSubstr("details=\"address_forbidden\""));
}

TEST(Dial, RefusesThePortOnWhichSluiceItselfListens) {
  Bench bench(allow_on(9915));
  bench.shared.own_listeners.emplace_back(asio::ip::address_v4::loopback(), 9915);
  EXPECT_THAT(bench.talk(Role::proxy, get("allowed.test", 9915, "Connection: close\r\n")),
              HasSubstr("details=\"address_forbidden\""));
}

TEST(Resolver, TellsASilentNameServerFromAName) {
  Bench bench("      - {host: nowhere.test}\n", "");
  const std::string heard =
      bench.talk(Role::proxy, get("nowhere.test", 80, "Connection: close\r\n"));
  EXPECT_THAT(heard, testing::AnyOf(HasSubstr("details=\"dns_failed\""),
                                    HasSubstr("details=\"dns_timeout\"")));
}

}  // namespace
}  // namespace sluice::proxy
