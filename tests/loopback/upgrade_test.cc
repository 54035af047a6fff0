// A connection that leaves HTTP (101) becomes a tunnel, and only where agent and origin agreed.
#include <gmock/gmock.h>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view offer =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n";
constexpr std::string_view accepted =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9k\r\n\r\n";
constexpr std::string_view accepted_by_us =
    "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9k\r\n"
    "Via: 1.1 sluice\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

// An origin that answers its first request with `first`, echoes what follows, and accepts offers.
class Upgrading : public Reloading {
 public:
  explicit Upgrading(std::string first = std::string(accepted), std::string_view more = "") {
    port = origin([first = std::move(first), said = std::make_shared<bool>(false)](
                      const std::string& so_far) -> std::optional<std::string> {
      if (*said) return echo(so_far);
      const std::size_t end = so_far.find("\r\n\r\n");
      if (end == std::string::npos) return std::nullopt;
      *said = true;
      return first + so_far.substr(end + 4);
    });
    all = allow_host("allowed.test", port, more) + allow_loopback(port);
    swap(all);
  }
  std::string request(std::string_view fields, std::string_view version = "1.1",
                      std::string_view method = "GET") const {
    return fmt::format(
        "{0} http://allowed.test:{1}/chat HTTP/{2}\r\nHost: allowed.test:{1}\r\n{3}"
        "\r\n",
        method, port, version, fields);
  }
  // Ends when the origin's echo of `first` came.
  std::shared_ptr<Client> upgrade(std::string_view first) {
    auto client = say(request(offer) + std::string(first));
    run_until([&] { return client->heard.ends_with(first) || client->ended; });
    EXPECT_TRUE(client->heard.starts_with(accepted_by_us)) << client->heard;
    return client;
  }
  void say_more(Client& client, std::string_view bytes) {
    ErrorCode cut;
    asio::write(client.socket, asio::buffer(bytes), cut);
  }
  // What the agent hears when nothing more comes, or the end.
  std::string answer_to(const std::string& bytes, std::string_view last) {
    const auto client = say(bytes);
    run_until([&] { return client->ended || client->heard.find(last) != std::string::npos; });
    ErrorCode ignored;
    client->socket.close(ignored);
    run_until_idle();
    return client->heard;
  }

  std::uint16_t port = 0;
  std::string all;
};

TEST(Upgrade, CarriesBothWaysInOrderAndIsOneLineWithItsBytesAtTheEnd) {
  Upgrading bench(std::string(accepted) + "origin first;");
  // The first two bytes come with the request: early, and held until the 101.
  const auto client = bench.upgrade("\x81\x01");
  EXPECT_EQ(client->heard, std::string(accepted_by_us) + "origin first;\x81\x01");
  EXPECT_TRUE(bench.shows("sluice_tunnels{agent=\"coder-1\"} 1"));
  // Nothing is read as HTTP again, neither what the agent says nor what the origin does.
  const std::string looks_like_http = "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n";
  bench.say_more(*client, looks_like_http);
  bench.run_until([&] { return client->heard.ends_with(looks_like_http); });
  EXPECT_FALSE(client->ended);
  EXPECT_THAT(bench.origin_heard(), HasSubstr("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
  EXPECT_THAT(bench.origin_heard(), HasSubstr("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"));
  EXPECT_THAT(bench.origin_heard(), EndsWith("\r\n\r\n\x81\x01" + looks_like_http));
  client->socket.close();
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnels{agent=\"coder-1\"} 0"));
  EXPECT_EQ(bench.totals().allowed, 1U);
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["verdict"], "allow");
  EXPECT_EQ(lines[0]["via"], "http");
  EXPECT_EQ(lines[0]["method"], "GET");
  EXPECT_EQ(lines[0]["path"], "/chat");
  EXPECT_EQ(lines[0]["bytes_up"], bench.origin_heard().size());
  EXPECT_EQ(lines[0]["bytes_down"], client->heard.size());
}

TEST(Upgrade, PassesAHalfCloseOnAndWhatTheOriginSaysAfterIt) {
  Upgrading bench;
  const auto client = bench.upgrade("\x81one");
  bench.say_more(*client, std::string(100'000, 'x') + "end");
  client->socket.shutdown(Socket::shutdown_send);
  bench.run_until([&] { return client->ended; });
  EXPECT_EQ(client->end, asio::error::eof);
  EXPECT_THAT(client->heard, EndsWith("xend"));
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"closed\"} 1"));
}

TEST(Upgrade, HeardByteByByteIsTheSame) {
  Upgrading bench;
  const std::string heard =
      bench.talk(netns::Role::proxy, bench.request(offer) + "\x81hello", 1,
                 [](const std::string& so_far) { return so_far.ends_with("hello"); });
  EXPECT_EQ(heard, std::string(accepted_by_us) + "\x81hello");
}

TEST(Upgrade, WorksBehindAnInterimAnswerAndInsideAPlainTunnel) {
  Upgrading bench("HTTP/1.1 100 Continue\r\n\r\n" + std::string(accepted));
  const std::string heard = bench.answer_to(
      Reloading::connect_line("allowed.test", bench.port) +
          fmt::format("GET /chat HTTP/1.1\r\nHost: allowed.test:{}\r\nExpect: 100-continue\r\n"
                      "{}\r\n\x81hello",
                      bench.port, offer),
      "hello");
  EXPECT_EQ(heard,
            "HTTP/1.1 200 Connection Established\r\n\r\nHTTP/1.1 100 Continue\r\n"
            "Via: 1.1 sluice\r\n\r\n" +
                std::string(accepted_by_us) + "\x81hello");
}

TEST(Upgrade, ThatTheOriginDoesNotTakeIsAnOrdinaryExchange) {
  for (const std::string_view status : {"200 OK", "426 Upgrade Required", "403 Forbidden"}) {
    Upgrading bench(
        fmt::format("HTTP/1.1 {}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                    "Content-Length: 2\r\n\r\nno",
                    status));
    const std::string heard = bench.answer_to(
        bench.request(offer) + "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "not_listed");
    EXPECT_THAT(heard, StartsWith(fmt::format("HTTP/1.1 {}\r\n", status)));
    EXPECT_THAT(heard, HasSubstr("Connection: keep-alive\r\n\r\nnoHTTP/1.1 403 Forbidden\r\n"))
        << "what follows is a request, and judged";
    EXPECT_THAT(heard, Not(HasSubstr("Upgrade:")));
    EXPECT_FALSE(bench.shows("sluice_tunnel_ends_total{end=\"closed\"} 1"));
  }
}

TEST(Upgrade, ThatNobodyMayMakeDoesNotReachTheOrigin) {
  const struct {
    std::string_view fields, version, body;
  } cases[] = {
      {"Upgrade: websocket\r\n", "1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", "1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n", "1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "1.0", ""},
      {"Connection: close\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", "1.1", ""},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n", "1.1", "body"},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", "1.1",
       "4\r\nbody\r\n0\r\n\r\n"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.fields);
    // An origin that says 101 all the same must not make a tunnel of it.
    Upgrading bench;
    const std::string request =
        bench.request(test.fields, test.version, test.body.empty() ? "GET" : "POST");
    const std::string heard = bench.answer_to(request + std::string(test.body), "nobody asked for");
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
    EXPECT_THAT(heard, HasSubstr("details=\"unreachable\""));
    EXPECT_THAT(heard, Not(HasSubstr(" 101 ")));
    const std::string& arrived = bench.origin_heard();
    const std::string head = arrived.substr(0, arrived.find("\r\n\r\n"));
    EXPECT_THAT(head, Not(HasSubstr("pgrade")));
    EXPECT_THAT(head, Not(HasSubstr("Settings")));
    EXPECT_EQ(bench.audit_lines()[0]["reason"], "unreachable");
  }
}

TEST(Upgrade, ToAnotherProtocolOrWithABodyIsABrokenAnswerAndEndsTheOriginsConnection) {
  for (const std::string_view fields :
       {"Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\n",
        "Upgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n"}) {
    SCOPED_TRACE(fields);
    Upgrading bench(fmt::format("HTTP/1.1 101 Switching Protocols\r\n{}\r\nsmuggled", fields));
    const std::string heard = bench.answer_to(
        bench.request(
            "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n") +
            "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n",
        "not_listed");
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 Bad Gateway\r\n"));
    EXPECT_THAT(heard, Not(HasSubstr("smuggled")));
    EXPECT_THAT(heard, HasSubstr("HTTP/1.1 403 Forbidden\r\n")) << "the next request is judged";
    EXPECT_THAT(bench.origin_heard(), HasSubstr("\r\nUpgrade: websocket\r\n"));
    EXPECT_THAT(bench.origin_heard(), Not(HasSubstr("other.test")));
  }
}

TEST(Upgrade, ToADeniedHostOrOfNonsenseIsRefusedAndNothingIsDialled) {
  Upgrading bench;
  const std::string to_other =
      fmt::format("GET http://other.test:{0}/ HTTP/1.1\r\nHost: other.test:{0}\r\n{1}\r\n\x81x",
                  bench.port, offer);
  EXPECT_THAT(bench.answer_to(to_other, "not_listed"), StartsWith("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_THAT(bench.answer_to(bench.request("Connection: Upgrade\r\nUpgrade: web socket\r\n"),
                              "not a list of protocols"),
              StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_EQ(bench.origin_connections(), 0);
}

TEST(Upgrade, IsCutWhenThePolicyNoLongerAllowsIt) {
  Upgrading bench;
  const auto client = bench.upgrade("\x81one");
  bench.swap(bench.all + allow_host("more.test", 1));
  bench.say_more(*client, "\x81still");
  bench.run_until([&] { return client->heard.ends_with("\x81still"); });
  bench.swap(allow_loopback(bench.port));
  bench.run_until([&] { return client->ended; });
  EXPECT_EQ(client->end, asio::error::connection_reset);
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"policy_changed\"} 1"));
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["reason"], "policy_changed");
  EXPECT_EQ(lines[0]["path"], "/chat");
  EXPECT_EQ(lines[0]["bytes_down"], client->heard.size());
}

TEST(Upgrade, BeganAsPlainHttpAndIsCutWhereThePolicyThenAsksForTls) {
  Upgrading bench;
  const auto client = bench.upgrade("\x81one");
  bench.swap(allow_host("allowed.test", bench.port, ", tls: require") + allow_loopback(bench.port));
  bench.run_until([&] { return client->ended; });
  bench.run_until_idle();
  EXPECT_EQ(bench.audit_lines()[0]["error"], "the new policy asks for TLS that was not checked");
}

TEST(Upgrade, ThatNobodyUsesEndsAfterTheIdleTime) {
  Upgrading bench;
  const auto client = bench.upgrade("\x81one");
  bench.shared.timeouts.idle = 300ms;
  bench.say_more(*client, "\x81");
  bench.run_until([&] { return client->ended; });
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"idle\"} 1"));
}

TEST(Upgrade, SpendsTheBudgetsAndEndsWithThem) {
  Upgrading bench;
  bench.swap(policy_of(text_of(bench.all) + "    limits: {download: 1KiB/day}\n"));
  const auto client = bench.upgrade("\x81one");
  bench.say_more(*client, std::string(4000, 'x'));
  bench.run_until([&] { return client->ended; });
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"budget\"} 1"));
  const auto lines = bench.audit_lines();
  EXPECT_EQ(lines.back()["reason"], "download_budget");
  EXPECT_LE(client->heard.size(), 1024U);
}

TEST(Upgrade, MayNotCarryTlsForAnotherHostWhereTlsMustMatch) {
  const std::string foreign("\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9);
  Upgrading match;
  const auto cut = match.say(match.request(offer) + foreign);
  match.run_until([&] { return cut->ended; });
  match.run_until_idle();
  EXPECT_THAT(match.origin_heard(), EndsWith("\r\n\r\n")) << "no byte of it arrived";
  EXPECT_EQ(match.audit_lines()[0]["verdict"], "deny");
  Upgrading off(std::string(accepted), ", tls: \"off\"");
  off.upgrade(foreign)->socket.close();
  off.run_until_idle();
}

}  // namespace
}  // namespace sluice::proxy
