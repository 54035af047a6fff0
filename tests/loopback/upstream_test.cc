#include "proxy/egress/upstream.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <fstream>

#include "allowlists/load.h"
#include "proxy/daemon/spawn.h"
#include "proxy/egress/happy_eyeballs.h"
#include "tests/loopback/bench.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view connected = "HTTP/1.1 200 Connection established\r\n\r\n";
constexpr auto never = std::nullopt;

// A dialer behind an upstream proxy on 127.0.0.1, whose answers are the test's. No address that an
// agent asks for is of this machine, unless a test says so.
class Behind {
 public:
  using Answer = std::optional<std::string>;  // nothing: it never answers
  using Answers = std::function<Answer(const std::string& target)>;

  explicit Behind(Answers answers, std::size_t piece = SIZE_MAX)
      : answers_(std::move(answers)), piece_(piece) {
    config.upstream_proxy.emplace();
    config.upstream_proxy->host = "127.0.0.1";
    config.upstream_proxy->port = listener_.local_endpoint().port();
    spawn(io_, serve());
  }

  Dialled dial(const std::string& target, std::chrono::milliseconds connect_timeout = far_away) {
    prepare();
    std::optional<Dialled> dialled;
    const auto parsed = allowlists::Target::parse(target, 443);
    DialOrder order{.target = &*parsed,
                    .rules = policy_->for_agent("coder-1"),
                    .connect_timeout = connect_timeout,
                    .agent = "coder-1",
                    .give_up = &give_up};
    spawn(io_, conduct(std::move(order), dialled));
    if (!run_until(io_, [&] { return dialled.has_value(); }))
      throw std::runtime_error("the dial did not end");
    io_.poll();
    return std::move(*dialled);
  }

  // "REASON: WHY (RULE)" of a dial that fails.
  std::string failure(const std::string& target, std::chrono::milliseconds timeout = far_away) {
    const Dialled dialled = dial(target, timeout);
    EXPECT_FALSE(dialled.connected);
    return fmt::format("{}: {}", reason_name(dialled.reason), dialled.why);
  }

  void prepare() {
    if (dialer_) return;
    Errors warnings;
    way_out_ = std::move(*WayOut::open(config, warnings));
    auto settings = std::make_shared<ResolverSettings>();
    settings->hosts = HostsFile::parse(hosts);
    settings->servers = {{IpAddress::v4(0x7f000001), 9}};
    resolver_ = std::move(*Resolver::create(io_, settings));
    routes_.emplace(std::move(*RouteQuery::open()));
    dialer_.emplace(io_, *resolver_, *routes_, Dialer::Terms{own, way_out_, wheel_});
    spawn(io_, wheel_.run());
    const allowlists::Source source{
        "policy.yaml", fmt::format("version: 1\nagents:\n  coder-1:\n    allow:\n"
                                   "      - {{host: .test, public_suffix: true, ports: [22, 443, "
                                   "{0}]}}\n"
                                   "      - {{cidr: 198.51.100.0/24, ports: [22, 443]}}\n"
                                   "      - {{cidr: '2001:db8::/32', ports: [443]}}\n"
                                   "      - {{cidr: 127.0.0.0/8, ports: [22, 443, {0}]}}\n",
                                   port())};
    auto loaded = allowlists::load(std::span(&source, 1));
    if (!loaded) throw std::runtime_error(to_string(loaded.error().front()));
    policy_ = loaded->policy;
  }

  std::uint16_t port() const { return config.upstream_proxy->port; }
  asio::io_context& io() { return io_; }
  void stop_listening() { listener_.close(); }

  // What the upstream proxy was asked for, in order, and in what words.
  std::vector<std::string> asked;
  std::string request;
  int connections = 0;
  Config config;
  std::string hosts =
      "198.51.100.1 one.test\n198.51.100.1 two.test\n198.51.100.2 two.test\n"
      "10.0.0.1 mixed.test\n198.51.100.1 mixed.test\n10.0.0.1 private.test\n"
      "127.0.0.1 upstream.test\n";
  OwnListeners own;
  GiveUp give_up;

 private:
  Task<void> conduct(DialOrder order, std::optional<Dialled>& dialled) {
    Dialled made = co_await dialer_->dial(std::move(order));
    dialled.emplace(std::move(made));
  }
  Task<void> serve() {
    for (;;) {
      auto [error, socket] = co_await listener_.async_accept();
      if (error) co_return;
      ++connections;
      spawn(io_, answer(std::move(socket)));
    }
  }
  Task<void> answer(Socket socket) {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
      char byte = 0;
      const auto [error, size] = co_await socket.async_read_some(asio::buffer(&byte, 1));
      if (error) co_return;
      head += byte;
    }
    request = head;
    asked.push_back(head.substr(8, head.find(" HTTP/1.1") - 8));
    const Answer reply = answers_(asked.back());
    std::string_view left = reply ? *reply : std::string_view();
    while (!left.empty()) {
      const std::string_view part = left.substr(0, piece_);
      const auto [error, size] = co_await asio::async_write(socket, asio::buffer(part), Token());
      if (error) co_return;
      left.remove_prefix(part.size());
      if (piece_ == SIZE_MAX) continue;
      Timer pause(io_, 1ms);  // so that the pieces are read one by one
      co_await pause.async_wait();
    }
    if (reply && reply->empty()) co_return;
    char byte = 0;
    co_await socket.async_read_some(asio::buffer(&byte, 1));  // until the other side closes
  }

  asio::io_context io_;
  Wheel wheel_{io_};
  Answers answers_;
  std::size_t piece_;
  Acceptor listener_{io_, TcpEndpoint(asio::ip::address_v4::loopback(), 0)};
  WayOut way_out_;
  std::shared_ptr<const allowlists::Policy> policy_;
  std::unique_ptr<Resolver> resolver_;
  std::optional<RouteQuery> routes_;
  std::optional<Dialer> dialer_;
};

Behind::Answer says_yes(const std::string&) { return std::string(connected); }

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

// --- egress

std::string source_of(const Dialled& dialled) {
  return dialled.socket.local_endpoint().address().to_string();
}

TEST(Egress, LeavesFromTheSourceOfTheFirstEntryThatFits) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"other-*"}, .source_v4 = IpAddress::parse("127.0.0.66")},
                         {.agents = {"coder-*"}, .source_v4 = IpAddress::parse("127.0.0.77")},
                         {.agents = {"*"}, .source_v4 = IpAddress::parse("127.0.0.88")}};
  const Dialled dialled = world.dial("one.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  EXPECT_EQ(source_of(dialled), "127.0.0.77");
}

TEST(Egress, DialsNoFamilyWithoutASource) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"*"}, .source_v6 = IpAddress::parse("2001:db8::77")}};
  EXPECT_EQ(world.failure("one.test:443"),
            fmt::format("unreachable: the upstream proxy 127.0.0.1:{} cannot be reached: this "
                        "agent's 'egress' has no IPv4 source",
                        world.port()));
  EXPECT_EQ(world.failure("127.0.0.77:22"),
            "unreachable: this agent's 'egress' has no IPv4 source");
  EXPECT_EQ(world.connections, 0);
}

TEST(Egress, SaysThatTheMachineHasNotTheSource) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"coder-1"}, .source_v4 = IpAddress::parse("198.51.100.200")}};
  EXPECT_THAT(world.failure("one.test:443"),
              testing::AllOf(testing::StartsWith("unreachable: "),
                             HasSubstr("cannot leave from 198.51.100.200: Cannot assign")));
  EXPECT_EQ(world.connections, 0);
  Errors warnings;
  ASSERT_TRUE(WayOut::open(world.config, warnings));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].what, "'egress': 198.51.100.200 is no address of this machine");
}

TEST(Egress, MarksOrDoesNotStart) {
  Behind world(says_yes);
  world.config.egress = {{.agents = {"*"}, .mark = 0x10}};
  Errors warnings;
  const auto way_out = WayOut::open(world.config, warnings);
  if (!way_out) {
    EXPECT_EQ(way_out.error().what,
              "sluiced cannot set the mark 0x10 of 'egress': Operation not permitted");
    EXPECT_EQ(way_out.error().hint, "give sluiced CAP_NET_ADMIN, or leave 'mark' out");
    return;
  }
  Dialled dialled = world.dial("one.test:443");
  ASSERT_TRUE(dialled.connected) << dialled.why;
  std::uint32_t mark = 0;
  socklen_t size = sizeof mark;
  getsockopt(dialled.socket.native_handle(), SOL_SOCKET, SO_MARK, &mark, &size);
  EXPECT_EQ(mark, 0x10U);
}

// --- the credentials file

TEST(Credentials, AreOneLineAndNeverRepeated) {
  const std::string path = testing::TempDir() + "credentials_form";
  Config config;
  config.upstream_proxy.emplace(Config::UpstreamProxy{.host = "proxy.example", .port = 3128});
  config.upstream_proxy->credentials_file = path;
  const struct {
    const char* text;
    bool good;
  } cases[] = {{"user:secret\n", true},
               {"user:secret", true},
               {"user:secret\r\n", true},
               {"user:\n", true},
               {"", false},
               {"secret\n", false},
               {":secret\n", false},
               {"user:secret\n\n", false},
               {"user:secret\nb:c\n", false},
               {"us\ter:secret", false}};
  for (const auto& test : cases) {
    std::ofstream(path) << test.text;
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
    Errors warnings;
    const auto opened = WayOut::open(config, warnings);
    EXPECT_EQ(opened.has_value(), test.good) << test.text;
    EXPECT_THAT(warnings, IsEmpty());
    if (opened) continue;
    EXPECT_EQ(opened.error().what,
              fmt::format("the credentials file '{}' is not one line 'user:password'", path));
  }
  std::ofstream(path) << "user:secret\n";
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  Errors warnings;
  ASSERT_TRUE(WayOut::open(config, warnings));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].what,
            fmt::format("others than its owner can read the credentials file '{}'", path));
  std::filesystem::remove(path);
}

// --- the session

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
