// What a hostile agent or origin tries on a connection.
#include <fmt/core.h>
#include <gmock/gmock.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/write.hpp>

#include "tests/loopback/bench.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using netns::Role;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::uint16_t free_port() {
  asio::io_context io;
  const asio::ip::tcp::acceptor probe(io, {asio::ip::address_v4::loopback(), 0});
  return probe.local_endpoint().port();
}

std::string allow_on(std::uint16_t port) {
  return fmt::format(
      "      - {{host: allowed.test, ports: [{0}], tls: match}}\n"
      "      - {{cidr: 127.0.0.1/32, ports: [{0}]}}\n",
      port);
}

struct Attack : Bench {
  explicit Attack(AnswerTo answer, bool closes = false)
      : Attack(free_port(), std::move(answer), closes) {}
  Attack(std::uint16_t open, AnswerTo answer, bool closes) : Bench(allow_on(open)), port(open) {
    origin_on(open, std::move(answer), closes);
  }
  std::string head(std::string_view method, std::string_view more = "") const {
    return fmt::format(
        "{0} http://allowed.test:{1}/x HTTP/1.1\r\nHost: allowed.test:{1}\r\n{2}\r\n", method, port,
        more);
  }
  std::string connect() const {
    return fmt::format("CONNECT allowed.test:{} HTTP/1.1\r\nHost: a.test\r\n\r\n", port);
  }
  const std::uint16_t port;
};

bool is_whole(const std::string& so_far) { return so_far.find("\r\n\r\n") != std::string::npos; }

Bench::AnswerTo ok() {
  return [](const std::string& so_far) -> std::optional<std::string> {
    if (!is_whole(so_far)) return std::nullopt;
    return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  };
}

// RFC 9112 2.2 and 3: origins skip empty lines, and some take any white space for the spaces.
TEST(Attack, HttpBehindEmptyLinesOrTabsIsStillJudgedAsHttp) {
  for (const std::string_view line :
       {"\r\nGET /secret HTTP/1.1", "\nGET /secret HTTP/1.1", "\r\n\r\nGET /secret HTTP/1.1",
        "GET\t/secret HTTP/1.1", "GET /secret\tHTTP/1.1", "GET /secret http/1.1",
        " GET /secret HTTP/1.1", "QUERY /secret HTTP/1.1"}) {
    Attack bench(ok());
    const std::string heard = bench.talk(
        Role::proxy, bench.connect() + std::string(line) + "\r\nHost: other.test\r\n\r\n");
    EXPECT_THAT(heard, HasSubstr("\r\n\r\nHTTP/1.1 40")) << line;
    EXPECT_EQ(bench.origin_heard(), "") << line;
  }
}

TEST(Attack, AHeadThatComesByteByByteHasOneDeadline) {
  Attack bench(ok());
  bench.shared.timeouts.headers = 400ms;
  bench.shared.timeouts.first_byte = 400ms;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  Socket client(bench.worker->io);
  client.connect(listener.local_endpoint());
  asio::co_spawn(bench.worker->io,
                 serve(*bench.worker, bench.agent, Socket(listener.accept()), Role::proxy),
                 [](std::exception_ptr) {});
  bench.worker->io.poll();
  const std::string head = bench.head("GET", "X-Slow: " + std::string(200, 'x') + "\r\n");
  const auto began = Clock::now();
  std::size_t sent = 0;
  for (auto next = began; bench.agent->sessions > 0 && sent < head.size();) {
    ErrorCode error;
    if (Clock::now() >= next) {
      asio::write(client, asio::buffer(head.data() + sent++, 1), error);
      next = Clock::now() + 50ms;
    }
    if (error) break;
    bench.worker->io.run_one_for(10ms);
  }
  EXPECT_LT(sent, head.size()) << "each byte had a deadline of its own";
  client.close();
  EXPECT_TRUE(run_until(bench.worker->io, [&] { return bench.agent->sessions == 0; }));
}

TEST(Attack, AnAgentThatReadsNoRefusalDoesNotStayForEver) {
  Attack bench(ok());
  bench.shared.timeouts.idle = 300ms;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  Socket client(bench.worker->io);
  client.connect(listener.local_endpoint());
  asio::co_spawn(bench.worker->io,
                 serve(*bench.worker, bench.agent, Socket(listener.accept()), Role::proxy),
                 [](std::exception_ptr) {});
  bench.worker->io.poll();
  std::string requests;
  for (int i = 0; i < 1000; ++i)
    requests += "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n";
  client.non_blocking(true);
  const auto until = Clock::now() + patience;
  std::size_t at = 0;
  bool over = false;
  while (!over && Clock::now() < until) {
    ErrorCode error;
    at += client.write_some(asio::buffer(requests.data() + at, requests.size() - at), error);
    if (at == requests.size()) at = 0;
    bench.worker->io.run_one_for(5ms);
    over = bench.agent->sessions == 0;
  }
  EXPECT_TRUE(over) << "the session waits for a reader";
}

TEST(Attack, ARequestThatMayNotBeRepeatedIsSentOnce) {
  int asked = 0;
  std::chrono::milliseconds* idle = nullptr;
  Attack bench([&](const std::string& so_far) -> std::optional<std::string> {
    if (!is_whole(so_far)) return std::nullopt;
    // The second request on the connection is heard, acted upon, and not answered.
    *idle = 300ms;
    return ++asked == 2 ? "" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  });
  idle = &bench.shared.timeouts.idle;
  const std::string heard = bench.talk(Role::proxy, bench.head("GET") + bench.head("POST"));
  EXPECT_THAT(heard, HasSubstr("HTTP/1.1 50"));
  run_until(bench.worker->io, [&] { return asked >= 2; });
  EXPECT_EQ(asked, 2);
}

TEST(Attack, BytesBehindAResponseAreNotTheNextOne) {
  bool late = false;
  Attack bench([&late](const std::string& so_far) -> std::optional<std::string> {
    if (!is_whole(so_far)) return std::nullopt;
    if (std::exchange(late, true)) return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue";
    return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: "
           "4\r\n\r\nfake";
  });
  const std::string heard =
      bench.talk(Role::proxy, bench.head("GET") + bench.head("GET", "Connection: close\r\n"));
  EXPECT_THAT(heard, HasSubstr("true"));
  EXPECT_THAT(heard, Not(HasSubstr("fake")));
}

TEST(Attack, AnAgentThatWaitsWithItsBodyLearnsThatTheOriginIsGone) {
  Attack bench(
      [](const std::string& so_far) {
        return is_whole(so_far) ? std::optional<std::string>("") : std::nullopt;
      },
      /*closes=*/true);
  const std::string heard =  // though nobody is idle for long enough
      bench.talk(Role::proxy, bench.head("PUT", "Expect: 100-continue\r\nContent-Length: 5\r\n"));
  EXPECT_THAT(heard, StartsWith("HTTP/1.1 502 "));
}

TEST(Attack, AnEarlyAnswerArrivesThoughTheBodyWasNotRead) {
  Attack bench([](const std::string& so_far) -> std::optional<std::string> {
    if (!is_whole(so_far)) return std::nullopt;
    return "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
  });
  const std::string heard = bench.talk(
      Role::proxy, bench.head("POST", "Content-Length: 100000000\r\n") + std::string(100'000, 'b'));
  EXPECT_THAT(heard, HasSubstr("HTTP/1.1 413 "));
  EXPECT_THAT(heard, HasSubstr("Connection: close"));
  EXPECT_THAT(heard, HasSubstr("\r\n\r\nbig"));
}

TEST(Attack, ForeignTlsBehindAnOriginThatSpokeFirstIsDenied) {
  Attack bench([greeted = false](const std::string&) mutable -> std::optional<std::string> {
    return std::exchange(greeted, true) ? std::nullopt
                                        : std::optional<std::string>("hello agent\r\n");
  });
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  Socket client(bench.worker->io);
  client.connect(listener.local_endpoint());
  asio::co_spawn(bench.worker->io,
                 serve(*bench.worker, bench.agent, Socket(listener.accept()), Role::proxy),
                 [](std::exception_ptr) {});
  bench.worker->io.poll();
  asio::write(client, asio::buffer(bench.connect()));
  std::string heard;
  const auto until = Clock::now() + patience;
  client.non_blocking(true);
  bool spoke = false;
  while ((bench.agent->sessions > 0 || !spoke) && Clock::now() < until) {
    bench.worker->io.run_one_for(10ms);
    std::array<char, 1024> chunk;
    ErrorCode error;
    heard.append(chunk.data(), client.read_some(asio::buffer(chunk), error));
    if (!spoke && heard.find("hello agent") != std::string::npos) {
      spoke = true;
      asio::write(client, asio::buffer(std::string_view("\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9)),
                  error);
    }
  }
  EXPECT_TRUE(spoke);
  EXPECT_EQ(bench.agent->sessions, 0);
  EXPECT_EQ(bench.origin_heard(), "");
  EXPECT_EQ(bench.totals().allowed, 0U);
  EXPECT_EQ(bench.totals().denied[static_cast<std::size_t>(Reason::bad_request)], 1U);
}

}  // namespace
}  // namespace sluice::proxy
