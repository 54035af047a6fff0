// What a session makes of whole conversations in HTTP: their order, their sizes and their account.
#include <gmock/gmock.h>

#include "tests/loopback/reloading.h"
#include "tests/loopback/wire_text.h"

namespace sluice::proxy {
namespace {

using netns::Role;
using testing::HasSubstr;
using testing::StartsWith;

// RFC 9110 10.1.1, 15.2.1.
TEST(HttpRules, PassTheContinueOnThatAnAgentWaitsFor) {
  Reloading bench;
  const std::uint16_t port = bench.origin([](const std::string& so_far) {
    if (so_far == "abc") {
      return std::optional<std::string>("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    }
    if (!so_far.ends_with("\r\n\r\n")) return std::optional<std::string>();
    return std::optional<std::string>("HTTP/1.1 100 Continue\r\n\r\n");
  });
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const auto client = bench.say(
      wire_text("PUT http://@/ HTTP/1.1\nHost: @\nExpect: 100-continue\nContent-Length: 3\n"
                "Connection: close\n\n",
                port));
  bench.run_until([&] { return client->heard.ends_with("\r\n\r\n"); });
  EXPECT_EQ(client->heard, "HTTP/1.1 100 Continue\r\nVia: 1.1 sluice\r\n\r\n");
  asio::write(client->socket, asio::buffer("abc", 3));
  bench.run_until([&] { return client->ended; });
  EXPECT_THAT(client->heard, HasSubstr("\r\n\r\nHTTP/1.1 201 Created\r\n"));
  EXPECT_THAT(bench.origin_heard(), HasSubstr("\r\nExpect: 100-continue\r\n"));
  bench.run_until_idle();
}

TEST(HttpRules, AnswerPipelinedRequestsInOrderAndLoseNone) {
  Reloading bench;
  int answers = 0;
  const std::uint16_t port = bench.origin([&](const std::string& so_far) {
    if (!so_far.ends_with("\r\n\r\n")) return std::optional<std::string>();
    const std::string number = std::to_string(++answers);
    return std::optional(
        fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", number.size(), number));
  });
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  std::string requests;
  std::string bodies;
  for (int i = 1; i <= 50; ++i) {
    requests += fmt::format("GET http://allowed.test:{}/{} HTTP/1.1\r\nHost: a\r\n{}\r\n", port, i,
                            i == 50 ? "Connection: close\r\n" : "");
    bodies += std::to_string(i) + ",";
  }
  const std::string heard = bench.talk(Role::proxy, requests);
  std::string got;
  for (std::size_t at = 0; (at = heard.find("\r\n\r\n", at)) != std::string::npos;) {
    at += 4;
    got += heard.substr(at, std::min(heard.find("HTTP/1.1", at), heard.size()) - at) + ",";
  }
  EXPECT_EQ(got, bodies);
  EXPECT_EQ(bench.origin_connections(), 1);
}

TEST(HttpRules, BoundTheHeadsOfOriginsWhateverIsConfiguredForAgents) {
  for (const bool bytes : {true, false}) {
    Reloading bench;
    bench.shared.limits.header_bytes = std::uint64_t{1} << 20;
    bench.shared.limits.headers = 10'000;
    std::string fields;
    if (bytes) fields = "A: " + std::string(70'000, 'x') + "\r\n";
    for (int i = 0; !bytes && i < 129; ++i) fields += "A: b\r\n";
    const std::uint16_t port = bench.origin([&](const std::string& so_far) {
      if (!so_far.ends_with("\r\n\r\n")) return std::optional<std::string>();
      return std::optional("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields + "\r\n");
    });
    bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
    const std::string heard = bench.talk(
        Role::proxy, wire_text("GET http://@/ HTTP/1.1\nHost: @\nConnection: close\n\n", port));
    EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 "));
  }
}

TEST(HttpRules, CutTheConnectionWhereAnOriginCutsItsResponse) {
  for (const std::string_view answer :
       {"HTTP/1.1 200 OK\nContent-Length: 9\n\nok",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\nzz\n"}) {
    Reloading bench;
    const std::uint16_t port = bench.origin(
        [&](const std::string& so_far) {
          if (!so_far.ends_with("\r\n\r\n")) return std::optional<std::string>();
          return std::optional(wire_text(answer, 0));
        },
        /*closes=*/true);
    bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
    const auto client = bench.say(wire_text("GET http://@/ HTTP/1.1\nHost: @\n\n", port));
    bench.run_until([&] { return client->ended; });
    EXPECT_EQ(client->end, asio::error::connection_reset) << answer;
    bench.run_until_idle();
    const auto lines = bench.audit_lines();
    EXPECT_EQ(lines.back()["error"], "the response was cut short");
    EXPECT_EQ(lines.back()["bytes_up"], bench.origin_heard().size());
  }
}

TEST(HttpRules, CountBytesAsTheyAreOnTheWire) {
  Reloading bench;
  const std::uint16_t port = bench.origin([](const std::string& so_far) {
    if (!so_far.ends_with("abc")) return std::optional<std::string>();
    return std::optional<std::string>(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nok\r\n0\r\n\r\n");
  });
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const std::string heard =
      bench.talk(Role::proxy, wire_text("POST http://@/ HTTP/1.1\nHost: @\nConnection: close\n"
                                        "Content-Length: 3\n\nabc",
                                        port));
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["bytes_up"], bench.origin_heard().size());
  EXPECT_EQ(lines[0]["bytes_down"], heard.size());
  EXPECT_EQ(bench.totals().bytes_down, heard.size());
}

TEST(HttpRules, PassLargeBodiesByteForByteWhateverTheirFraming) {
  std::string body;
  for (std::uint32_t i = 0; body.size() < 3'000'000; ++i) body += std::to_string(i * 2654435761U);
  const auto chunked = [&] {
    std::string text;
    for (std::size_t at = 0, size = 1; at < body.size(); at += size, size = size * 3 % 70'001 + 1) {
      const std::string_view part = std::string_view(body).substr(at, size);
      text += fmt::format("{:x}\r\n{}\r\n", part.size(), part);
    }
    return text + "0\r\n\r\n";
  };
  const std::string answer = "HTTP/1.1 200 OK\r\n";
  const std::vector<std::string> answers = {
      answer + fmt::format("Content-Length: {}\r\n\r\n", body.size()) + body,
      answer + "Connection: close\r\n\r\n" + body,
      answer + "Transfer-Encoding: chunked\r\n\r\n" + chunked()};
  for (const std::string& said : answers) {
    Reloading bench;
    const std::uint16_t port = bench.origin(
        [&](const std::string& so_far) {
          return so_far.ends_with("\r\n\r\n") ? std::optional(said) : std::nullopt;
        },
        true);
    bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
    // To HTTP/1.0, chunks are unpacked.
    std::string heard =
        bench.talk(Role::proxy, fmt::format("GET http://allowed.test:{}/ HTTP/1.0\r\n\r\n", port));
    heard.erase(0, heard.find("\r\n\r\n") + 4);
    EXPECT_TRUE(heard == body) << "of " << heard.size() << " bytes";
  }
}

TEST(HttpRules, LetASlowReaderSlowTheOriginDown) {
  Reloading bench;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  const std::uint16_t port = listener.local_endpoint().port();
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  Socket client = bench.arrive();
  asio::write(client, asio::buffer(wire_text("GET http://@/ HTTP/1.1\nHost: @\n\n", port)));
  bench.run_until([&] { return bench.agent->metrics->totals().bytes_up > 0; });
  Socket origin = listener.accept();
  const std::uint64_t gibibyte = std::uint64_t{1} << 30;
  asio::write(origin,
              asio::buffer(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", gibibyte)));
  origin.non_blocking(true);
  const std::string block(std::size_t{1} << 20, 'x');
  std::uint64_t taken = 0;
  int stalled = 0;
  while (stalled < 20 && taken < gibibyte) {
    ErrorCode error;
    const std::size_t size = origin.write_some(asio::buffer(block), error);
    taken += size;
    stalled = size > 0 ? 0 : stalled + 1;
    bench.run_for(std::chrono::milliseconds(size > 0 ? 1 : 20));
  }
  EXPECT_LT(taken, std::uint64_t{64} << 20) << "only what the kernel's buffers hold";
  client.close();
  origin.close();
  bench.run_until_idle();
}

}  // namespace
}  // namespace sluice::proxy
