// Idle connections to origins, as sessions give and take them: for their agent only, and never one
// that is not clean.
#include <gmock/gmock.h>

#include <boost/asio/read.hpp>

#include "tests/loopback/pooling.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using netns::Role;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(OriginPool, GivesTheNextConnectionOfAnAgentTheOriginOfTheLast) {
  Pooling bench;
  EXPECT_THAT(bench.get(), HasSubstr("\r\n\r\nok"));
  EXPECT_EQ(bench.kept(), 1U);
  EXPECT_THAT(bench.get(), HasSubstr("\r\n\r\nok"));
  EXPECT_EQ(bench.origin_connections(), 1);
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1]["address"], "127.0.0.1") << "though nothing was dialled";
}

TEST(OriginPool, NeverGivesAnAgentTheConnectionOfAnother) {
  Pooling bench;
  const auto first = bench.agent;
  bench.get();
  ASSERT_EQ(bench.kept(), 1U);
  bench.agent = bench.other_agent("coder-2");
  bench.get();
  EXPECT_EQ(bench.origin_connections(), 2);
  // Not even to one of the same name: another registration is another agent.
  bench.agent = bench.other_agent("coder-1");
  bench.get();
  EXPECT_EQ(bench.origin_connections(), 3);
  bench.agent = first;
  bench.get();
  EXPECT_EQ(bench.origin_connections(), 3) << "its own is still there";
}

TEST(OriginPool, KeepsTargetsApart) {
  Pooling bench;
  const std::string both = bench.open() + allow_host("other.test", bench.port);
  bench.swap(both);
  bench.get();
  bench.talk(Role::proxy,
             fmt::format("GET http://other.test:{}/ HTTP/1.1\r\nHost: a\r\nConnection: "
                         "close\r\n\r\n",
                         bench.port));
  EXPECT_EQ(bench.origin_connections(), 2) << "one address and port, but two names";
}

TEST(OriginPool, ServesPlainHttpInTunnelsAsWell) {
  Pooling bench;
  bench.get();
  bench.talk(Role::proxy, Pooling::connect_line("allowed.test", bench.port) +
                              fmt::format("GET / HTTP/1.1\r\nHost: allowed.test:{}\r\n"
                                          "Connection: close\r\n\r\n",
                                          bench.port));
  EXPECT_EQ(bench.kept(), 2U);
  EXPECT_EQ(bench.worker->origins.size(), 2U) << "the tunnel's own connection is kept too";
}

TEST(OriginPool, KeepsNoConnectionWithBytesBehindItsResponse) {
  const std::string smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
  Pooling bench([&](const std::string& so_far) -> std::optional<std::string> {
    const auto answer = ok_to(so_far);
    return answer ? std::optional(*answer + smuggled) : std::nullopt;
  });
  for (int i = 1; i <= 3; ++i) {
    EXPECT_THAT(bench.get(), Not(HasSubstr("smuggled")));
    EXPECT_EQ(bench.kept(), 0U);
    EXPECT_EQ(bench.origin_connections(), i);
  }
}

TEST(OriginPool, KeepsNoConnectionWhoseResponseSaysThatItHasContentWhereNoneMayBe) {
  for (const std::string_view framing :
       {"Content-Length: 2\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"}) {
    Pooling bench([&](const std::string& so_far) -> std::optional<std::string> {
      if (!ok_to(so_far)) return std::nullopt;
      return fmt::format("HTTP/1.1 204 No Content\r\n{}", framing);
    });
    EXPECT_THAT(bench.get(), StartsWith("HTTP/1.1 204"));
    EXPECT_EQ(bench.kept(), 0U) << framing;
  }
}

TEST(OriginPool, KeepsNoConnectionThatItsOriginWantsToClose) {
  for (const std::string_view answer :
       {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"}) {
    Pooling bench([&](const std::string& so_far) -> std::optional<std::string> {
      return ok_to(so_far) ? std::optional(std::string(answer)) : std::nullopt;
    });
    bench.get();
    EXPECT_EQ(bench.kept(), 0U) << answer;
  }
}

TEST(OriginPool, ServesTheNamesThatOneConnectionAsksForInTurnWithoutDiallingThemAgain) {
  Pooling bench;
  constexpr int requests_of_one = 20;
  const std::string both = bench.open() + allow_host("other.test", bench.port);
  bench.swap(both);
  for (int round = 0; round < 2; ++round) {
    std::string requests;
    for (int i = 0; i < requests_of_one; ++i) {
      requests += fmt::format("GET http://{}.test:{}/ HTTP/1.1\r\nHost: a\r\n{}\r\n",
                              i % 2 == 0 ? "allowed" : "other", bench.port,
                              i + 1 == requests_of_one ? "Connection: close\r\n" : "");
    }
    bench.talk(Role::proxy, requests);
  }
  EXPECT_EQ(bench.origin_connections(), 2);
}

// One that is counted has been written: both in one step means in one write.
TEST(OriginPool, SendsAHeadWithTheBodyThatCameWithIt) {
  Reloading bench;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  const std::uint16_t port = listener.local_endpoint().port();
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const auto client = bench.say(
      fmt::format("POST http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                  "Connection: close\r\n\r\nhello",
                  port));
  bench.run_until([&] { return bench.totals().bytes_up > 0; });
  Socket origin = listener.accept();
  std::string heard(bench.totals().bytes_up, ' ');
  asio::read(origin, asio::buffer(heard));
  EXPECT_THAT(heard, StartsWith("POST / HTTP/1.1\r\n"));
  EXPECT_THAT(heard, testing::EndsWith("\r\n\r\nhello"));
  const std::string body(1024, 'x');
  asio::write(origin, asio::buffer("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + body));
  bench.run_until([&] { return bench.totals().bytes_down > 0; });
  EXPECT_GT(bench.totals().bytes_down, 1024U);
  bench.run_until([&] { return client->ended; });
  EXPECT_THAT(client->heard, testing::EndsWith("\r\n\r\n" + body));
  bench.run_until_idle();
}

TEST(OriginPool, IsEmptiedOfWhatANewPolicyDenies) {
  Pooling bench;
  bench.get();
  ASSERT_EQ(bench.kept(), 1U);
  bench.swap(bench.open() + allow_host("more.test", 1));
  EXPECT_EQ(bench.kept(), 1U) << "what it still allows stays";
  bench.get();
  EXPECT_EQ(bench.origin_connections(), 1);
  bench.swap(allow_host("allowed.test", bench.port));
  EXPECT_EQ(bench.kept(), 0U) << "the name is still allowed, its address no longer";
  EXPECT_THAT(bench.get(), HasSubstr("details=\"address_private\""));
}

TEST(OriginPool, TakesNothingThatAPolicyDeniedWhileItWasUsed) {
  Reloading bench;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  const std::uint16_t port = listener.local_endpoint().port();
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const auto client =
      bench.say(fmt::format("GET http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\n\r\n", port));
  bench.run_until([&] { return bench.agent->metrics->totals().bytes_up > 0; });
  Socket origin = listener.accept();
  asio::write(origin, asio::buffer(std::string("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")));
  // The new policy is there, its review not yet.
  bench.agent->set_policy(policy_of(text_of(allow_host("nowhere.test", 1))));
  bench.run_until([&] { return client->heard.ends_with("ok") || client->ended; });
  EXPECT_EQ(bench.worker->origins.size(), 0U);
  client->socket.close();
  bench.run_until_idle();
}

TEST(OriginPool, IsEmptiedOfAnAgentThatGoes) {
  Pooling bench;
  const auto first = bench.agent;
  bench.get();
  bench.agent = bench.other_agent("coder-2");
  bench.get();
  ASSERT_EQ(bench.kept(), 2U);
  bench.worker->break_off(first.get());
  EXPECT_EQ(bench.kept(), 1U);
  bench.worker->break_off(nullptr);
  EXPECT_EQ(bench.kept(), 0U);
}

TEST(OriginPool, GetsNothingFromASessionThatIsBrokenOffWhileItsResponseEnds) {
  Reloading bench;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  const std::uint16_t port = listener.local_endpoint().port();
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  for (int step = 0; step < 12; ++step) {
    const auto client =
        bench.say(fmt::format("GET http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\n\r\n", port));
    const auto before = bench.agent->metrics->totals().bytes_up;
    bench.run_until([&] { return bench.agent->metrics->totals().bytes_up > before; });
    Socket origin = listener.accept();
    asio::write(origin,
                asio::buffer(std::string("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")));
    for (int i = 0; i < step; ++i) bench.worker->io.poll_one();
    bench.worker->break_off(bench.agent.get());
    bench.run_until_idle();
    EXPECT_EQ(bench.worker->origins.size(), 0U) << "after " << step << " steps";
  }
}

TEST(OriginPool, SendsARequestOnceMoreWhereTheKeptConnectionIsClosedAsItIsWritten) {
  for (const std::string_view method : {"GET", "POST"}) {
    Reloading bench;
    Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
    const std::uint16_t port = listener.local_endpoint().port();
    bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
    auto [ours, theirs] = connected_pair(bench.worker->io);
    const Connected what{target(fmt::format("allowed.test:{}", port)), IpAddress::v4(0x7f000001),
                         bench.agent->rules()};
    bench.worker->origins.park(bench.agent, {std::move(ours), what});
    const auto client = bench.say(
        fmt::format("{} http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                    method, port));
    bench.run_until([&] { return bench.agent->metrics->totals().bytes_up > 0; });
    theirs.close();  // with the request unread: a reset
    if (method == "GET") {
      bench.run_until([&] {
        return bench.agent->metrics->totals().allowed == 0 &&
               bench.agent->metrics->totals().bytes_up > 120;
      });
      Socket second = listener.accept();
      asio::write(second, asio::buffer(*ok_to("\r\n\r\n")));
    }
    bench.run_until([&] { return client->ended; });
    EXPECT_THAT(client->heard, StartsWith(method == "GET" ? "HTTP/1.1 200" : "HTTP/1.1 502"));
    bench.run_until_idle();
  }
}

TEST(OriginPool, IsNotAskedByRequestsThatCannotBeSentAgainUnlessAConnectionIsFresh) {
  Pooling bench;
  const auto pass = [&](Clock::duration time) {
    bench.run_until([&, then = Clock::now() + time] { return bench.worker->wheel.now() >= then; });
    return Clock::now();
  };
  // One that was parked less than two seconds ago: whoever stood still meanwhile begins anew.
  int connections = 0;
  Clock::time_point began;
  do {
    began = pass(0s);
    bench.get();
    connections = bench.origin_connections();
    bench.get("POST");
  } while (Clock::now() - began >= 1900ms);
  EXPECT_EQ(bench.origin_connections(), connections) << "parked a moment ago";
  pass(2500ms);
  bench.get("POST");
  EXPECT_EQ(bench.origin_connections(), connections + 1);
  pass(2500ms);
  bench.get();
  EXPECT_EQ(bench.origin_connections(), connections + 1);
}

TEST(OriginPool, CostsNoConnectsOfTheLimit) {
  Pooling bench;
  bench.swap(policy_of(text_of(bench.open()) + "    limits: {connects: 1/h}\n"));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(bench.get(), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(bench.origin_connections(), 1);
}

TEST(OriginPool, KeepsNothingOfAnAnswerThatCameBeforeItsRequestWasWhole) {
  Pooling bench([](const std::string& so_far) -> std::optional<std::string> {
    if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
    return "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
  });
  EXPECT_THAT(bench.get("POST", "Content-Length: 5\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_EQ(bench.kept(), 0U);
}

}  // namespace
}  // namespace sluice::proxy
