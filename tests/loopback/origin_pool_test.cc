// Idle connections to origins: kept for their agent, and closed as soon as they are good for
// nothing.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <boost/asio/read.hpp>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using netns::Role;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::optional<std::string> ok_to(const std::string& so_far) {
  if (!so_far.ends_with("\r\n\r\n")) return std::nullopt;
  return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
}

struct Pooling : Reloading {
  explicit Pooling(AnswerTo answer = ok_to, bool closes = false)
      : port(origin(std::move(answer), closes)) {
    swap(open());
  }
  std::string open() const { return allow_host("allowed.test", port) + allow_loopback(port); }

  std::string request(std::string_view method = "GET", std::string_view more = "") const {
    return fmt::format(
        "{0} http://allowed.test:{1}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{2}\r\n", method,
        port, more);
  }
  std::string get(std::string_view method = "GET", std::string_view more = "") {
    return talk(Role::proxy, request(method, more));
  }
  std::shared_ptr<Agent> other_agent(const std::string& name) {
    const auto policy =
        policy_of(fmt::format("version: 1\nagents:\n  {}:\n    allow:\n{}", name, open()));
    auto pair = netns::socket_pair();
    return std::make_shared<Agent>(name, policy, registry.agent(name),
                                   std::make_shared<const Fd>(std::move(pair->first)));
  }
  std::size_t kept() const { return worker->origins.size(); }

  const std::uint16_t port;
};

// Connections as the kernel has them: a pair on loopback, the client's side first.
std::pair<Socket, Socket> connected_pair(asio::io_context& io) {
  Acceptor listener(io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  Socket client(io);
  client.connect(listener.local_endpoint());
  return {std::move(client), Socket(listener.accept())};
}

allowlists::Target target(std::string_view text) {
  return *allowlists::Target::parse(text, std::nullopt);
}

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

TEST(OriginPool, ClosesAConnectionAsSoonAsItsOriginClosesOrSpeaksUnasked) {
  for (const bool speaks : {true, false}) {
    Reloading bench;
    auto [ours, theirs] = connected_pair(bench.worker->io);
    const Connected what{target("allowed.test:80"), IpAddress::v4(0x7f000001), {}};
    bench.worker->origins.park(bench.agent, {std::move(ours), what});
    bench.run_for(300ms);
    EXPECT_EQ(bench.worker->origins.size(), 1U);
    if (speaks) {
      asio::write(theirs, asio::buffer("HTTP/1.1 408 ", 13));
    } else {
      theirs.shutdown(Socket::shutdown_send);
    }
    bench.run_until([&] { return bench.worker->origins.size() == 0; });
    char byte = 0;
    ErrorCode error;
    theirs.read_some(asio::buffer(&byte, 1), error);
    EXPECT_TRUE(error) << "and it is closed, not only forgotten";
  }
}

TEST(OriginPool, DoesNotHandOutAConnectionThatClosedAMomentAgo) {
  Reloading bench;
  auto [ours, theirs] = connected_pair(bench.worker->io);
  Fd watched(::dup(ours.native_handle()));
  const Connected what{target("allowed.test:80"), IpAddress::v4(0x7f000001), {}};
  bench.worker->origins.park(bench.agent, {std::move(ours), what});
  theirs.close();  // and no handler has run since
  ASSERT_TRUE(can_be_read(watched.get(), patience));
  watched.reset();
  EXPECT_FALSE(bench.worker->origins.take(*bench.agent, what.target, 30s));
  EXPECT_EQ(bench.worker->origins.size(), 0U);
}

TEST(OriginPool, LeavesATakenConnectionAlone) {
  Reloading bench;
  auto [ours, theirs] = connected_pair(bench.worker->io);
  const Connected what{target("allowed.test:80"), IpAddress::v4(0x7f000001), {}};
  bench.worker->origins.park(bench.agent, {std::move(ours), what});
  bench.run_for(300ms);  // watched now
  auto taken = bench.worker->origins.take(*bench.agent, what.target, 30s);
  ASSERT_TRUE(taken);
  asio::write(theirs, asio::buffer("x", 1));
  ASSERT_TRUE(can_be_read(taken->socket.native_handle(), patience));
  bench.run_for(300ms);
  EXPECT_TRUE(taken->socket.is_open());
  char byte = 0;
  EXPECT_EQ(taken->socket.read_some(asio::buffer(&byte, 1)), 1U);
  bench.worker->origins.drop(nullptr);
  EXPECT_TRUE(taken->socket.is_open());
}

TEST(OriginPool, HoldsItsBoundsAndLetsTheOldestGo) {
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {.per_target = 2, .per_agent = 3, .all = 4, .idle_life = 30s});
  std::vector<Socket> origins;
  const auto park = [&](const std::shared_ptr<Agent>& agent, std::string_view where) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    origins.push_back(std::move(theirs));
    pool.park(agent, {std::move(ours), {target(where), IpAddress::v4(0x7f000001), {}}});
  };
  const auto open = [&](std::size_t which) { return !can_be_read(origins[which].native_handle()); };
  const auto closed = [&](std::size_t which) {
    return can_be_read(origins[which].native_handle(), patience);
  };
  const auto agent_of = [&](const std::string& name) {
    return std::make_shared<Agent>(name, policy_of("version: 1\n"), bench.registry.agent(name),
                                   std::make_shared<const Fd>());
  };
  const auto a = agent_of("a");
  const auto b = agent_of("b");
  for (int i = 0; i < 3; ++i) park(a, "one.test:80");
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_TRUE(closed(0));
  EXPECT_TRUE(open(1));
  park(a, "two.test:80");
  park(a, "three.test:80");
  EXPECT_EQ(pool.size(), 3U);
  EXPECT_TRUE(closed(1));
  park(b, "one.test:80");
  park(b, "two.test:80");
  EXPECT_EQ(pool.size(), 4U);
  EXPECT_TRUE(closed(2)) << "another agent's, but the oldest of all";
  EXPECT_FALSE(pool.take(*a, target("one.test:80"), 30s));
  EXPECT_TRUE(pool.make_room());
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_TRUE(pool.take(*b, target("two.test:80"), 30s));
  pool.drop(b.get());
  EXPECT_FALSE(pool.make_room());
}

TEST(OriginPool, KeepsLessWhereDescriptorsAreFew) {
  const OriginPool::Bounds few = OriginPool::Bounds().within(9);
  EXPECT_EQ(few.all, 9U);
  EXPECT_EQ(few.per_agent, 5U) << "one agent leaves room for others";
  EXPECT_EQ(OriginPool::Bounds().within(0).all, 1U);
  EXPECT_EQ(OriginPool::Bounds().within(1'000'000).all, OriginPool::Bounds().all);
  Reloading bench;
  EXPECT_LE(bench.worker->origins.bounds().all, OriginPool::Bounds().all);
}

TEST(OriginPool, FindsEachOfManyTargetsAgainAndNoOther) {
  constexpr int targets = 150;
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {});
  const auto name = [](int i) {
    return target(fmt::format("host{}.test:{}", i % 75, 80 + i / 75));
  };
  std::vector<std::uint16_t> ports;
  std::vector<Socket> origins;
  for (int i = 0; i < targets; ++i) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    ports.push_back(ours.local_endpoint().port());
    origins.push_back(std::move(theirs));
    pool.park(bench.agent, {std::move(ours), {name(i), IpAddress::v4(0x7f000001), {}}});
  }
  EXPECT_EQ(pool.size(), std::size_t{targets});
  EXPECT_FALSE(pool.take(*bench.agent, target("host0.test:82"), 30s));
  EXPECT_FALSE(pool.take(*bench.agent, target("127.0.0.1:80"), 30s));
  for (int i = 0; i < targets; ++i) {
    const int which = i * 7 % targets;
    const auto kept = pool.take(*bench.agent, name(which), 30s);
    ASSERT_TRUE(kept) << which;
    EXPECT_EQ(kept->connected.target, name(which));
    EXPECT_EQ(kept->socket.local_endpoint().port(), ports[static_cast<std::size_t>(which)]);
    EXPECT_FALSE(pool.take(*bench.agent, name(which), 30s)) << "it is given once";
  }
  EXPECT_EQ(pool.size(), 0U);
}

TEST(OriginPool, GivesTheOneThatWasParkedLast) {
  Reloading bench;
  OriginPool& pool = bench.worker->origins;
  std::vector<std::uint16_t> ports;
  std::vector<Socket> origins;
  for (int i = 0; i < 3; ++i) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    ports.push_back(ours.local_endpoint().port());
    origins.push_back(std::move(theirs));
    pool.park(bench.agent, {std::move(ours), {target("one.test:80"), {}, {}}});
  }
  for (const std::size_t which : {2, 1, 0}) {
    const auto kept = pool.take(*bench.agent, target("one.test:80"), 30s);
    ASSERT_TRUE(kept);
    EXPECT_EQ(kept->socket.local_endpoint().port(), ports[which]);
  }
}

TEST(OriginPool, UsesNoConnectionAgainBeyondItsAge) {
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {});
  const auto park = [&](Clock::duration age) {
    auto [ours, theirs] = connected_pair(bench.worker->io);
    Connected what{target("one.test:80"), {}, {}, wheel.now() - age};
    pool.park(bench.agent, {std::move(ours), std::move(what)});
    return std::move(theirs);
  };
  const Socket old = park(pool.bounds().oldest);
  EXPECT_EQ(pool.size(), 0U);
  // Kept while it was young enough, and found when it is not any more.
  const Socket young = park(pool.bounds().oldest - 250ms);
  EXPECT_EQ(pool.size(), 1U);
  const Clock::time_point later = Clock::now() + 500ms;
  spawn(bench.worker->io, wheel.run());
  bench.run_until([&] { return wheel.now() >= later; });
  EXPECT_EQ(pool.size(), 1U);
  EXPECT_FALSE(pool.take(*bench.agent, target("one.test:80"), 30s));
  EXPECT_EQ(pool.size(), 0U);
  bench.worker->io.stop();
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

TEST(OriginPool, ClosesWhatNobodyUsesForItsIdleLife) {
  Reloading bench;
  Wheel wheel(bench.worker->io);
  OriginPool pool(wheel, {.idle_life = 500ms});
  auto [ours, theirs] = connected_pair(bench.worker->io);
  pool.park(bench.agent, {std::move(ours), {target("one.test:80"), {}, {}}});
  const auto parked = wheel.now();
  spawn(bench.worker->io, wheel.run());
  bench.run_until([&] { return pool.size() == 0; });
  EXPECT_GE(Clock::now() - parked, 500ms);
  bench.worker->io.stop();
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

TEST(Lifetime, EndsTunnelsAndSaysSo) {
  for (const std::string_view limits : {"", "    limits: {bandwidth: 1KiB/s}\n"}) {
    Reloading bench;
    bench.shared.timeouts.lifetime = 3s;
    const std::uint16_t port = bench.origin(echo);
    bench.swap(policy_of(text_of(allow_host("allowed.test", port) + allow_loopback(port)) +
                         std::string(limits)));
    const auto client = bench.tunnel("allowed.test", port, "\x01one");
    if (!limits.empty()) asio::write(client->socket, asio::buffer(std::string(60'000, 'x')));
    bench.run_until([&] { return client->ended; });
    bench.run_until_idle();
    EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"lifetime\"} 1"));
    const auto lines = bench.audit_lines();
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0]["verdict"], "allow");
    EXPECT_EQ(lines[0]["error"], "the connection reached the end of its life");
  }
}

TEST(Lifetime, EndsATunnelWhoseBytesNeverPause) {
  Reloading bench;
  bench.shared.timeouts.lifetime = 3s;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(allow_host("allowed.test", port) + allow_loopback(port));
  const auto client = bench.tunnel("allowed.test", port, "\x01one");
  const auto until = Clock::now() + patience;
  while (!client->ended && Clock::now() < until) {
    ErrorCode error;
    client->socket.write_some(asio::buffer("again and again", 15), error);
    bench.worker->io.run_one_for(1ms);
  }
  EXPECT_TRUE(client->ended);
  bench.run_until_idle();
  EXPECT_TRUE(bench.shows("sluice_tunnel_ends_total{end=\"lifetime\"} 1"));
}

TEST(Lifetime, EndsIdleAndBusyHttpConnections) {
  Pooling bench;
  bench.shared.timeouts.lifetime = 3s;
  const auto idle =
      bench.say(fmt::format("GET http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\n\r\n", bench.port));
  bench.run_until([&] { return idle->ended; });
  EXPECT_THAT(idle->heard, testing::EndsWith("ok")) << "nothing is said to an idle one";
  bench.run_until_idle();
  Bench::AnswerTo silent = [](const std::string&) { return std::nullopt; };
  Pooling quiet(silent);
  quiet.shared.timeouts.lifetime = 3s;
  const auto busy = quiet.say(quiet.request());
  quiet.run_until([&] { return busy->ended; });
  quiet.run_until_idle();
  EXPECT_THAT(busy->heard, StartsWith("HTTP/1.1 504"));
  EXPECT_EQ(quiet.audit_lines().at(0)["error"], "the connection reached the end of its life");
}

}  // namespace
}  // namespace sluice::proxy
