// A dialer behind an upstream proxy whose answers are the test's.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>

#include "allowlists/load.h"
#include "proxy/daemon/spawn.h"
#include "proxy/egress/happy_eyeballs.h"
#include "proxy/egress/upstream.h"
#include "tests/loopback/bench.h"

namespace sluice::proxy {

using namespace std::chrono_literals;

inline constexpr std::string_view connected = "HTTP/1.1 200 Connection established\r\n\r\n";
inline constexpr auto never = std::nullopt;

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

inline Behind::Answer says_yes(const std::string&) { return std::string(connected); }

}  // namespace sluice::proxy
