#include "proxy/egress/dialer.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <sstream>

#include "allowlists/load.h"
#include "base/fd.h"
#include "proxy/daemon/spawn.h"
#include "proxy/egress/happy_eyeballs.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
using testing::IsEmpty;

std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return std::distance(begin(entries), end(entries));
}

// How a listener on an address of this machine behaves.
enum class Origin : std::uint8_t { answers, swallows };

struct Ended {
  std::optional<Dialled> dialled;  // nothing: the dial was given up
  Clock::duration took{};

  std::string address() const { return dialled->address.to_string(); }
  std::string reason() const { return std::string(reason_name(dialled->reason)); }
};

// Names of many.test lead to the addresses of the case, all on one port; the policy allows the name
// and opens the cidr ranges it is given.
class Addresses {
 public:
  explicit Addresses(std::string hosts, std::string cidrs = "127.0.0.0/8 ::1")
      : hosts_(std::move(hosts)), cidrs_(std::move(cidrs)) {
    // A port that is free on the first address: the others are nobody else's.
    const Fd first = bound("127.0.0.1", 0);
    sockaddr_in name{};
    socklen_t size = sizeof name;
    getsockname(first.get(), reinterpret_cast<sockaddr*>(&name), &size);
    port_ = ntohs(name.sin_port);
  }

  void listen(const std::string& address, Origin origin) {
    Fd listener = bound(address, port_);
    // With a backlog of 0 the kernel queues one connection and drops the SYNs of all others.
    ASSERT_EQ(::listen(listener.get(), origin == Origin::answers ? 16 : 0), 0);
    listeners_.emplace(address, std::move(listener));
    if (origin == Origin::answers) return;
    for (int i = 0; i < 3; ++i) fill(address);
  }

  // From now on, what knocks again at a swallowing address gets in.
  void empty_backlog(const std::string& address) {
    fillers_.clear();
    while (accepted(address) > 0) {
    }
  }

  // From now on sluice itself listens on the address.
  void make_own(const std::string& address) { own_.push_back(endpoint(address, port_)); }

  // How many connections wait on the address; takes them.
  int accepted(const std::string& address) {
    int count = 0;
    while (Fd(::accept4(listeners_.at(address).get(), nullptr, nullptr, SOCK_NONBLOCK))) ++count;
    return count;
  }

  Ended dial(std::chrono::milliseconds connect_timeout = 10s, const char* host = "many.test") {
    Ended ended;
    begin(connect_timeout, 60s, host, ended);
    run_until([&] { return over_; });
    if (!ended.dialled) throw std::runtime_error("the dial did not end");
    return ended;
  }

  // The caller gives up after `patience`.
  Ended dial_and_give_up(std::chrono::milliseconds patience) {
    Ended ended;
    begin(30s, patience, "many.test", ended);
    run_until([&] { return over_; });
    return ended;
  }

  // Starts a dial and leaves it unfinished.
  void begin(std::chrono::milliseconds connect_timeout, std::chrono::milliseconds patience,
             const char* host, Ended& ended) {
    prepare();
    over_ = false;
    io_->restart();
    DialOrder order{.target = {*allowlists::Host::parse(host), port_},
                    .rules = policy_->for_agent("coder-1"),
                    .connect_timeout = connect_timeout};
    spawn(*io_, conduct(std::move(order), patience, ended));
  }

  template <class Condition>
  void run_until(Condition condition) {
    const auto until = Clock::now() + 20s;
    while (!condition() && Clock::now() < until) io_->run_one_for(50ms);
    EXPECT_TRUE(condition()) << "the dial did not end";
    io_->poll();
  }
  void run_for(std::chrono::milliseconds time) { io_->run_for(time); }
  void destroy_io() {
    dialer_.reset();
    resolver_.reset();
    io_.reset();
  }
  void prepare() {
    if (dialer_) return;
    auto settings = std::make_shared<ResolverSettings>();
    settings->hosts = HostsFile::parse(hosts_);
    settings->servers = {{IpAddress::v4(0x7f000001), 9}};
    resolver_ = std::move(*Resolver::create(*io_, settings));
    routes_.emplace(std::move(*RouteQuery::open()));
    dialer_.emplace(*io_, *resolver_, *routes_, Dialer::Terms{own_, way_out_});
    std::string text = "version: 1\nagents:\n  coder-1:\n    allow:\n";
    std::istringstream ranges(cidrs_);
    for (std::string range; ranges >> range;) {
      text += fmt::format("      - {{cidr: '{}', ports: [{}]}}\n", range, port_);
    }
    text += fmt::format("      - {{host: many.test, ports: [{}]}}\n", port_);
    const allowlists::Source source{"policy.yaml", text};
    auto loaded = allowlists::load(std::span(&source, 1));
    if (!loaded) throw std::runtime_error(to_string(loaded.error().front()));
    policy_ = loaded->policy;
  }

 private:
  Task<void> conduct(DialOrder order, std::chrono::milliseconds patience, Ended& ended) {
    const auto began = Clock::now();
    Timer timer(*io_, patience);
    auto outcome = co_await (dialer_->dial(std::move(order)) || timer.async_wait());
    ended.took = Clock::now() - began;
    if (outcome.index() == 0) ended.dialled.emplace(std::move(std::get<0>(outcome)));
    over_ = true;
  }

  static TcpEndpoint endpoint(const std::string& address, std::uint16_t port) {
    return {asio::ip::make_address(address), port};
  }
  static Fd stream(const TcpEndpoint& of, int flags) {
    return Fd(::socket(of.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  }
  static Fd bound(const std::string& address, std::uint16_t port) {
    TcpEndpoint at = endpoint(address, port);
    Fd socket = stream(at, SOCK_NONBLOCK);
    const int yes = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(socket.get(), at.data(), static_cast<socklen_t>(at.size())) != 0) {
      throw std::runtime_error(fmt::format("cannot bind {}:{}", address, port));
    }
    return socket;
  }
  void fill(const std::string& address) {
    const TcpEndpoint to = endpoint(address, port_);
    Fd socket = stream(to, SOCK_NONBLOCK);
    (void)::connect(socket.get(), to.data(), static_cast<socklen_t>(to.size()));
    fillers_.push_back(std::move(socket));
  }

  std::string hosts_;
  std::string cidrs_;
  std::uint16_t port_ = 0;
  std::map<std::string, Fd> listeners_;
  std::vector<Fd> fillers_;
  OwnListeners own_;
  WayOut way_out_;
  std::shared_ptr<const allowlists::Policy> policy_;
  std::unique_ptr<asio::io_context> io_ = std::make_unique<asio::io_context>();
  std::unique_ptr<Resolver> resolver_;
  std::optional<RouteQuery> routes_;
  std::optional<Dialer> dialer_;
  bool over_ = false;
};

bool has_ipv6() {
  const Fd socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 loopback{.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof loopback) == 0;
}

TEST(Dialer, PrefersIPv6AndLeavesTheOtherAddressesAlone) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("127.0.0.1 many.test\n::1 many.test\n127.0.0.2 many.test\n");
  for (const char* address : {"127.0.0.1", "127.0.0.2", "::1"}) {
    world.listen(address, Origin::answers);
  }
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "::1");
  EXPECT_EQ(ended.dialled->socket.remote_endpoint().address().to_string(), "::1");
  EXPECT_THAT(ended.dialled->why, IsEmpty());
  EXPECT_EQ(world.accepted("::1"), 1);
  EXPECT_EQ(world.accepted("127.0.0.1"), 0);
  EXPECT_EQ(world.accepted("127.0.0.2"), 0);
}

TEST(Dialer, TriesTheNextAddressAQuarterOfASecondAfterOneThatSwallowsPackets) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("::1 many.test\n127.0.0.1 many.test\n127.0.0.2 many.test\n");
  world.listen("::1", Origin::swallows);
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.2", Origin::answers);
  world.prepare();
  const auto before = open_descriptors();
  Ended ended = world.dial(15s);
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.2");
  EXPECT_GE(ended.took, 2 * connection_attempt_delay);
  EXPECT_LT(ended.took, 4s);  // a share of the timeout each would be 10 s
  EXPECT_EQ(open_descriptors(), before + 1) << "an attempt that lost is still open";
  ended.dialled.reset();
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, TriesTheNextAddressAtOnceWhenOneFails) {
  std::string hosts;
  for (int i = 1; i <= 8; ++i) hosts += fmt::format("127.0.0.{} many.test\n", i);
  Addresses world(hosts);
  world.listen("127.0.0.8", Origin::answers);
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.8");
  EXPECT_LT(ended.took, 1s);  // seven delays would be 1.75 s
}

TEST(Dialer, AFailureStartsTheNextWhileAnEarlierAttemptStillWaits) {
  Addresses world(
      "127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n"
      "127.0.0.4 many.test\n127.0.0.5 many.test\n127.0.0.6 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.6", Origin::answers);
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.6");
  EXPECT_GE(ended.took, connection_attempt_delay);
  EXPECT_LT(ended.took, 1s);  // five delays would be 1.25 s
}

TEST(Dialer, LetsASlowAttemptWinThatBeganBeforeTheOthers) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.2", Origin::swallows);
  Ended ended;
  world.begin(15s, 60s, "many.test", ended);
  world.run_for(500ms);
  world.empty_backlog("127.0.0.1");  // its SYN comes again after a second
  world.run_until([&] { return ended.dialled.has_value(); });
  ASSERT_TRUE(ended.dialled && ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.1");
}

TEST(Dialer, NeverDialsAnAddressThatTheGuardRefuses) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("::1 many.test\n127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n",
                  "127.0.0.2 127.0.0.3");
  for (const char* address : {"::1", "127.0.0.1", "127.0.0.3"}) {
    world.listen(address, Origin::answers);
  }
  const Ended ended = world.dial();
  ASSERT_TRUE(ended.dialled->connected);
  EXPECT_EQ(ended.address(), "127.0.0.3");
  EXPECT_EQ(ended.dialled->rule, "default");
  EXPECT_EQ(world.accepted("::1"), 0);
  EXPECT_EQ(world.accepted("127.0.0.1"), 0);
  EXPECT_EQ(world.accepted("127.0.0.3"), 1);
}

TEST(Dialer, JudgesAnAddressJustBeforeItIsDialled) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n");
  world.listen("127.0.0.1", Origin::swallows);
  world.listen("127.0.0.2", Origin::answers);
  Ended ended;
  world.begin(1s, 60s, "many.test", ended);
  world.run_for(10ms);
  world.make_own("127.0.0.2");  // the guard would have allowed it when the dial began
  world.run_until([&] { return ended.dialled.has_value(); });
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_timeout");
  EXPECT_EQ(ended.address(), "127.0.0.1");
  EXPECT_EQ(world.accepted("127.0.0.2"), 0);
}

TEST(Dialer, TellsTheFirstRefusalWhereNoAddressMayBeDialled) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  Addresses world("127.0.0.1 many.test\n::1 many.test\n", "127.0.0.9");
  for (const char* address : {"::1", "127.0.0.1"}) world.listen(address, Origin::answers);
  const Ended ended = world.dial();
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "address_private");
  EXPECT_EQ(ended.address(), "::1");
  EXPECT_EQ(ended.dialled->why, "the name leads to ::1");
  EXPECT_EQ(world.accepted("::1") + world.accepted("127.0.0.1"), 0);
}

TEST(Dialer, TellsTheFirstFailureWhereNoAddressAnswers) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n",
                  "127.0.0.2 127.0.0.3");
  const Ended ended = world.dial();
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_refused");
  EXPECT_EQ(ended.dialled->why, "127.0.0.2: Connection refused");
  EXPECT_EQ(ended.address(), "127.0.0.2");
}

TEST(Dialer, DialsNoMoreThanEightAddresses) {
  std::string hosts;
  for (int i = 1; i <= 12; ++i) hosts += fmt::format("127.0.0.{} many.test\n", i);
  Addresses refusing(hosts);
  refusing.listen("127.0.0.9", Origin::answers);
  const Ended ended = refusing.dial();
  EXPECT_EQ(ended.reason(), "connect_refused");
  EXPECT_EQ(refusing.accepted("127.0.0.9"), 0);
  // One that was refused was not dialled and does not count.
  Addresses guarded(hosts, "127.0.0.2/31 127.0.0.4/30 127.0.0.8/31");
  guarded.listen("127.0.0.9", Origin::answers);
  EXPECT_EQ(guarded.dial().address(), "127.0.0.9");
}

TEST(Dialer, SaysTimeoutOnlyWhenTheTimeRanOut) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n");
  world.listen("127.0.0.2", Origin::swallows);
  world.listen("127.0.0.3", Origin::swallows);
  world.prepare();
  const auto before = open_descriptors();
  const Ended ended = world.dial(700ms);
  EXPECT_FALSE(ended.dialled->connected);
  EXPECT_EQ(ended.reason(), "connect_timeout");
  EXPECT_EQ(ended.dialled->why, "127.0.0.2: Connection timed out");
  EXPECT_EQ(ended.address(), "127.0.0.2");
  EXPECT_GE(ended.took, 700ms);
  EXPECT_LT(ended.took, 5s);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, LeavesNoAttemptBehindWhenTheCallerGivesUp) {
  Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n127.0.0.3 many.test\n");
  for (const char* address : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
    world.listen(address, Origin::swallows);
  }
  world.prepare();
  const auto before = open_descriptors();
  const Ended ended = world.dial_and_give_up(400ms);
  EXPECT_FALSE(ended.dialled.has_value());
  EXPECT_LT(ended.took, 5s);  // of a connect timeout of 30 s
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, LeavesNoAttemptBehindWhenItsThreadEnds) {
  const auto before = open_descriptors();
  {
    Addresses world("127.0.0.1 many.test\n127.0.0.2 many.test\n");
    for (const char* address : {"127.0.0.1", "127.0.0.2"}) world.listen(address, Origin::swallows);
    world.prepare();
    const auto prepared = open_descriptors();
    Ended ended;
    world.begin(15s, 60s, "many.test", ended);
    world.run_for(400ms);
    EXPECT_EQ(open_descriptors(), prepared + 2);  // both are under way
    world.destroy_io();
    EXPECT_FALSE(ended.dialled.has_value());
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Dialer, DialsALiteralAddressAlone) {
  Addresses world("127.0.0.1 many.test\n", "127.0.0.5");
  world.listen("127.0.0.5", Origin::answers);
  const Ended allowed = world.dial(10s, "127.0.0.5");
  ASSERT_TRUE(allowed.dialled && allowed.dialled->connected);
  EXPECT_EQ(world.accepted("127.0.0.5"), 1);
  const Ended refused = world.dial(10s, "127.0.0.6");
  EXPECT_FALSE(refused.dialled->connected);
  EXPECT_EQ(refused.reason(), "address_private");
  EXPECT_THAT(refused.dialled->why, IsEmpty());
}

}  // namespace
}  // namespace sluice::proxy
