// Dials from one thread to addresses of this machine, whose listeners answer or swallow packets.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "allowlists/load.h"
#include "base/fd.h"
#include "proxy/daemon/spawn.h"
#include "proxy/egress/dialer.h"
#include "tests/loopback/patience.h"

namespace sluice::proxy {

using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

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

  Ended dial(std::chrono::milliseconds connect_timeout = far_away, const char* host = "many.test") {
    Ended ended;
    begin(connect_timeout, far_away, host, ended);
    run_until([&] { return over_; });
    if (!ended.dialled) throw std::runtime_error("the dial did not end");
    return ended;
  }

  // The caller gives up after `time`.
  Ended dial_and_give_up(std::chrono::milliseconds time) {
    Ended ended;
    begin(far_away, time, "many.test", ended);
    run_until([&] { return over_; });
    return ended;
  }

  // How many handlers ran until a dial was over.
  int handlers_of_dial(const char* host) {
    prepare();
    io_->poll();
    over_ = false;
    const auto conduct_plainly = [&]() -> Task<void> {
      DialOrder order{.target = aim(host), .rules = policy_->for_agent("coder-1")};
      const Dialled dialled = co_await dialer_->dial(std::move(order));
      EXPECT_TRUE(dialled.connected);
      over_ = true;
    };
    spawn(*io_, conduct_plainly());
    int handlers = 0;
    while (!over_ && handlers < 1000) handlers += static_cast<int>(io_->run_one_for(1s));
    return handlers;
  }

  // Starts a dial and leaves it unfinished.
  void begin(std::chrono::milliseconds connect_timeout, std::chrono::milliseconds give_up_after,
             const char* host, Ended& ended) {
    prepare();
    over_ = false;
    io_->restart();
    DialOrder order{.target = aim(host),
                    .rules = policy_->for_agent("coder-1"),
                    .connect_timeout = connect_timeout,
                    .give_up = give_up};
    spawn(*io_, conduct(std::move(order), give_up_after, ended));
  }

  template <class Condition>
  void run_until(Condition condition) {
    EXPECT_TRUE(proxy::run_until(*io_, condition)) << "it did not come about";
    io_->poll();
  }
  // Not one handler more.
  template <class Condition>
  void run_until_one(Condition condition) {
    EXPECT_TRUE(proxy::run_until(*io_, condition)) << "it did not come about";
  }
  // Of the next dials; null: nobody gives up.
  GiveUp* give_up = nullptr;
  // Of all dials.
  std::chrono::milliseconds attempt_delay = connection_attempt_delay;
  // Asked where descriptors are used up.
  std::function<bool()> make_room = [] { return false; };

  void run_for(std::chrono::milliseconds time) { proxy::run_for(*io_, time); }
  void destroy_io() {
    dialer_.reset();
    resolver_.reset();
    wheel_.reset();
    io_.reset();
  }
  void prepare() {
    if (dialer_) return;
    auto settings = std::make_shared<ResolverSettings>();
    settings->hosts = HostsFile::parse(hosts_);
    settings->servers = {{IpAddress::v4(0x7f000001), 9}};
    resolver_ = std::move(*Resolver::create(*io_, settings));
    routes_.emplace(std::move(*RouteQuery::open()));
    wheel_.emplace(*io_);
    spawn(*io_, wheel_->run());
    dialer_.emplace(
        *io_, *resolver_, *routes_,
        Dialer::Terms{own_, way_out_, *wheel_, [this] { return make_room(); }, attempt_delay});
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
  // The target of all dials from now on.
  const allowlists::Target* aim(const char* host) {
    target_ = allowlists::Target{*allowlists::Host::parse(host), port_};
    return &*target_;
  }
  Task<void> conduct(DialOrder order, std::chrono::milliseconds give_up_after, Ended& ended) {
    const auto began = Clock::now();
    Timer timer(*io_, give_up_after);
    auto outcome = co_await (dialer_->dial(std::move(order)) || timer.async_wait(AsTask()));
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
  std::optional<allowlists::Target> target_;
  std::map<std::string, Fd> listeners_;
  std::vector<Fd> fillers_;
  OwnListeners own_;
  WayOut way_out_;
  std::shared_ptr<const allowlists::Policy> policy_;
  std::unique_ptr<asio::io_context> io_ = std::make_unique<asio::io_context>();
  std::unique_ptr<Resolver> resolver_;
  std::optional<RouteQuery> routes_;
  std::optional<Wheel> wheel_;
  std::optional<Dialer> dialer_;
  bool over_ = false;
};

inline bool has_ipv6() {
  const Fd socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 loopback{.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&loopback), sizeof loopback) == 0;
}

}  // namespace sluice::proxy
