// What an upstream proxy is asked for, and what its answers come to.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "proxy/egress/happy_eyeballs.h"
#include "tests/loopback/behind.h"
#include "tests/loopback/bench.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Upstream, SendsTheJudgedAddressByDefault) {
  Behind world(says_yes);
  world.hosts += "2001:db8::7 six.test\n";
  const Dialled dialled = world.dial("one.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  EXPECT_EQ(dialled.address.to_string(), "198.51.100.1");
  EXPECT_EQ(dialled.socket.remote_endpoint().port(), world.port());
  EXPECT_EQ(world.request, "CONNECT 198.51.100.1:443 HTTP/1.1\r\nHost: 198.51.100.1:443\r\n\r\n");
  EXPECT_TRUE(world.dial("six.test:443").connected);
  EXPECT_TRUE(world.dial("198.51.100.9:443").connected);
  EXPECT_THAT(world.asked,
              ElementsAre("198.51.100.1:443", "[2001:db8::7]:443", "198.51.100.9:443"));
  EXPECT_EQ(world.connections, 3);
}

TEST(Upstream, SendsTheNameUnresolvedWhereItIsTold) {
  Behind world(says_yes);
  world.config.upstream_proxy->send = Config::UpstreamProxy::Send::name;
  const Dialled dialled = world.dial("nobody-resolves-this.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  EXPECT_EQ(dialled.address, IpAddress());
  EXPECT_THAT(world.asked, ElementsAre("nobody-resolves-this.test:443"));
  EXPECT_EQ(world.failure("198.51.100.9:443"),
            "address_forbidden: the upstream proxy is given names only (send: name), and no "
            "'except' covers this address");
  EXPECT_EQ(world.connections, 1);
}

TEST(Upstream, SendsTheCredentialsOfTheFile) {
  const std::string path = testing::TempDir() + "upstream_credentials";
  std::ofstream(path) << "user:pass:word\n";
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  Behind world(says_yes);
  world.config.upstream_proxy->credentials_file = path;
  EXPECT_TRUE(world.dial("one.test:443").connected);
  EXPECT_THAT(world.request, HasSubstr("\r\nProxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"));
  std::filesystem::remove(path);
}

TEST(Upstream, LeavesWhatTheOriginSaysFirstInTheSocket) {
  const std::string banner = "SSH-2.0-origin\r\n\r\nHTTP/1.1 ";
  for (const std::size_t piece : {SIZE_MAX, std::size_t{7}, std::size_t{1}}) {
    // A length says nothing here: RFC 9110 9.3.6.
    Behind world(
        [&](const std::string&) {
          return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n" +
                 banner;
        },
        piece);
    Dialled dialled = world.dial("one.test:22");
    ASSERT_TRUE(dialled.connected) << dialled.why;
    std::string heard;
    const auto hear = [&]() -> Task<void> {
      std::array<char, 64> some;
      for (;;) {
        const auto [error, size] = co_await dialled.socket.async_read_some(asio::buffer(some));
        if (error) co_return;
        heard.append(some.data(), size);
      }
    };
    spawn(world.io(), hear());
    run_until(world.io(), [&] { return heard.size() >= banner.size(); });
    EXPECT_EQ(heard, banner) << "in pieces of " << piece;
    dialled.socket.close();
    world.io().poll();
  }
}

TEST(Upstream, TellsWhatTheProxyAnswered) {
  const std::string no_http = "unreachable: the upstream proxy did not answer in HTTP";
  std::string endless;
  for (int i = 0; i < 20; ++i) endless += "HTTP/1.1 103 Early Hints\r\n\r\n";
  const struct {
    std::string answer;
    std::string failure;
  } cases[] = {
      {"HTTP/1.1 407 Who\r\n\r\n", "unreachable: the upstream proxy refused our credentials (407)"},
      {"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
       "unreachable: the upstream proxy answered 403"},
      {"HTTP/1.1 502 Bad\r\n\r\nbody", "unreachable: the upstream proxy answered 502"},
      {"HTTP/1.1 503 Busy\r\n\r\n", "unreachable: the upstream proxy answered 503"},
      {"HTTP/1.1 504 Late\r\n\r\n", "connect_timeout: the upstream proxy answered 504"},
      {"HTTP/1.1 302 There\r\nLocation: /\r\n\r\n", "unreachable: the upstream proxy answered 302"},
      {"HTTP/1.1 101 Switching\r\n\r\n", "unreachable: the upstream proxy answered 101"},
      {"HTTP/1.1 200 OK\n\n", no_http},
      {"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", no_http},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x'), no_http},
      {"SSH-2.0-what\r\n\r\n", no_http},
      {endless, "unreachable: the upstream proxy sends interim answers without end"},
      {"", "unreachable: the upstream proxy closed the connection without an answer"},
  };
  for (const auto& test : cases) {
    Behind world([&](const std::string&) { return test.answer; });
    EXPECT_EQ(world.failure("one.test:443"), test.failure) << test.answer.substr(0, 60);
  }
}

TEST(Upstream, AsksForTheNextAddressWhenOneFails) {
  Behind world([](const std::string& target) {
    return std::string(target == "198.51.100.1:443" ? "HTTP/1.1 503 Busy\r\n\r\n" : connected);
  });
  const Dialled dialled = world.dial("two.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  EXPECT_EQ(dialled.address.to_string(), "198.51.100.2");
  EXPECT_THAT(world.asked, ElementsAre("198.51.100.1:443", "198.51.100.2:443"));
}

TEST(Upstream, AsksForTheNextAddressWhileOneIsNotAnswered) {
  Behind world([](const std::string& target) -> Behind::Answer {
    if (target == "198.51.100.1:443") return never;
    return std::string(connected);
  });
  const Dialled dialled = world.dial("two.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  EXPECT_EQ(dialled.address.to_string(), "198.51.100.2");
}

TEST(Upstream, AsksOnceWhereTheCredentialsAreWrong) {
  Behind world([](const std::string&) { return std::string("HTTP/1.1 407 Who\r\n\r\n"); });
  EXPECT_THAT(world.failure("two.test:443"), HasSubstr("407"));
  EXPECT_EQ(world.connections, 1);
}

TEST(Upstream, AsksForNoMoreThanEightAddresses) {
  Behind world([](const std::string&) { return std::string("HTTP/1.1 503 Busy\r\n\r\n"); });
  for (int i = 1; i <= 12; ++i) world.hosts += fmt::format("198.51.100.{} many.test\n", i);
  EXPECT_EQ(world.failure("many.test:443"), "unreachable: the upstream proxy answered 503");
  EXPECT_EQ(world.asked.size(), most_attempts);
}

TEST(Upstream, IsToldNothingOfAnAddressThatTheGuardRefuses) {
  Behind world(says_yes);
  EXPECT_EQ(world.failure("private.test:443"), "address_private: the name leads to 10.0.0.1");
  EXPECT_EQ(world.connections, 0);
  const Dialled survivor = world.dial("mixed.test:443");
  EXPECT_EQ(survivor.address.to_string(), "198.51.100.1");
  EXPECT_THAT(world.asked, ElementsAre("198.51.100.1:443"));
}

TEST(Upstream, IsPassedByForWhatExceptCovers) {
  for (const auto send :
       {Config::UpstreamProxy::Send::address, Config::UpstreamProxy::Send::name}) {
    Behind world(says_yes);
    auto& except = world.config.upstream_proxy->except;
    world.config.upstream_proxy->send = send;
    except.hosts = {"exact.test", ".suffix.test", "*.below.test"};
    except.ranges = {*Cidr::parse("10.0.0.0/25")};
    world.hosts +=
        "10.0.0.1 exact.test a.exact.test suffix.test a.suffix.test below.test a.below.test\n"
        "10.0.0.1 notsuffix.test\n";
    // Directly, the guard refuses them before anything is dialled.
    for (const char* direct : {"exact.test", "suffix.test", "a.suffix.test", "a.below.test"}) {
      EXPECT_THAT(world.failure(direct), HasSubstr("address_private")) << direct;
    }
    EXPECT_EQ(world.connections, 0);
    if (send == Config::UpstreamProxy::Send::address) continue;
    for (const char* through : {"a.exact.test", "below.test", "notsuffix.test"}) {
      EXPECT_TRUE(world.dial(through).connected) << through;
    }
    EXPECT_THAT(world.failure("10.0.0.1:443"), HasSubstr("address_private"));
    EXPECT_THAT(world.failure("10.0.0.129:443"), HasSubstr("no 'except' covers"));
    EXPECT_EQ(world.connections, 3);
  }
}

TEST(Upstream, IsNeverAskedForThisMachinesOwnAddresses) {
  for (const auto send :
       {Config::UpstreamProxy::Send::address, Config::UpstreamProxy::Send::name}) {
    Behind world(says_yes);
    world.config.upstream_proxy->send = send;
    world.hosts += "127.0.0.77 localhost\n127.0.0.77 some.localhost\n";
    for (const char* own :
         {"127.0.0.77:22", "host.sluice.internal:22", "localhost:22", "some.localhost:22"}) {
      (void)world.dial(own);  // whether somebody listens there is this machine's affair
    }
    EXPECT_EQ(world.connections, 0);
  }
}

TEST(Upstream, IsNoTargetOfAnAgent) {
  for (const auto send :
       {Config::UpstreamProxy::Send::address, Config::UpstreamProxy::Send::name}) {
    Behind world(says_yes);
    world.config.upstream_proxy->host = "upstream.test";
    world.config.upstream_proxy->send = send;
    world.hosts += "127.0.0.3 alias.test\n";
    world.config.upstream_proxy->except.hosts = {"alias.test"};
    // What listens on every address of this machine can be reached by each of them.
    for (const char* name : {"127.0.0.1", "upstream.test", "127.0.0.2", "alias.test"}) {
      const Dialled dialled = world.dial(fmt::format("{}:{}", name, world.port()));
      EXPECT_FALSE(dialled.connected) << name;
      EXPECT_EQ(reason_name(dialled.reason), "address_forbidden") << name;
    }
    EXPECT_EQ(world.connections, 0);
  }
}

TEST(Upstream, IsNeverAListenerOfThisSluiced) {
  Behind world(says_yes);
  world.own.emplace_back(asio::ip::address_v4::any(), world.port());
  EXPECT_EQ(world.failure("one.test:443"),
            fmt::format("unreachable: the upstream proxy 127.0.0.1:{} cannot be reached: it is a "
                        "listener of this sluiced",
                        world.port()));
  EXPECT_EQ(world.connections, 0);
}

TEST(Upstream, IsNamedWhereItCannotBeReached) {
  Behind gone(says_yes);
  gone.stop_listening();
  EXPECT_EQ(gone.failure("one.test:443"),
            fmt::format("connect_refused: the upstream proxy 127.0.0.1:{} cannot be reached: "
                        "127.0.0.1: Connection refused",
                        gone.port()));
  Behind unknown(says_yes);
  unknown.config.upstream_proxy->host = "unknown.test";
  EXPECT_THAT(unknown.failure("one.test:443"),
              testing::EndsWith(fmt::format(
                  ": the name of the upstream proxy unknown.test:{} could not be resolved",
                  unknown.port())));
  Behind silent([](const std::string&) -> Behind::Answer { return never; });
  EXPECT_EQ(silent.failure("one.test:443", 500ms),
            "connect_timeout: the upstream proxy did not answer in time");
}

TEST(Upstream, TriesAllItsAddresses) {
  Behind world(says_yes);
  world.config.upstream_proxy->host = "several.test";
  world.hosts += "127.0.0.99 several.test\n127.0.0.1 several.test\n";
  EXPECT_TRUE(world.dial("one.test:443").connected);
}

TEST(Upstream, LeavesNothingOpenWhenTheAgentGivesUp) {
  int asked = 0;
  std::function<void()> give_up;
  Behind world([&](const std::string&) -> Behind::Answer {
    if (++asked == 2) give_up();
    return never;
  });
  give_up = [&] { world.give_up.now(); };
  world.prepare();
  const auto before = open_descriptors();
  EXPECT_EQ(world.failure("two.test:443"), "unreachable: the agent is gone");
  EXPECT_EQ(asked, 2);
  run_until(world.io(), [&] { return open_descriptors() <= before; });
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(world.failure("two.test:443"), "unreachable: the agent is gone");
}

TEST(Session, EndsADialAtOnceWhenItsAgentIsBrokenOff) {
  Bench bench(
      "      - {host: allowed.test, ports: [443]}\n      - {cidr: 198.51.100.0/24, ports: [443]}\n",
      "198.51.100.1 allowed.test\n");
  const std::uint16_t silent = bench.origin([&](const std::string& so_far) {
    if (so_far.ends_with("\r\n\r\n")) bench.worker->break_off(bench.agent.get());
    return std::optional<std::string>();
  });
  Config config;
  config.upstream_proxy.emplace(Config::UpstreamProxy{.host = "127.0.0.1", .port = silent});
  Errors warnings;
  bench.shared.way_out = std::move(*WayOut::open(config, warnings));
  bench.talk(netns::Role::proxy,
             "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n");
  EXPECT_EQ(bench.origin_connections(), 1);
  EXPECT_THAT(bench.origin_heard(), HasSubstr("CONNECT 198.51.100.1:443"));
}

}  // namespace
}  // namespace sluice::proxy
