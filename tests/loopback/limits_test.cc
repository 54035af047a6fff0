// Limits on live connections: nothing is dodged, and whoever waits for his turn holds up nobody
// else.
#include <gmock/gmock.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <optional>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using metrics::Direction;
using testing::HasSubstr;
using testing::StartsWith;

// The agent may reach `port` of the host, as far as `limits` go.
PolicyPtr limited(std::uint16_t port, std::string_view limits) {
  return policy_of(text_of(allow_host("allowed.test", port) + allow_loopback(port)) +
                   fmt::format("    limits: {}\n", limits));
}

// An hour's wait at 1 KiB/s for whoever comes next.
void fill_line(Reloading& bench, Direction direction, std::uint64_t bytes = 3600 * 1024) {
  bench.agent->allowance->pace(direction, 1024, bytes, Clock::now());
}

TEST(Limits, OfBandwidthLetConnectionsTakeTurnsInSmallPortions) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(limited(port, "{bandwidth: 4KiB/s}"));
  std::vector<std::shared_ptr<Client>> bulk;
  for (int i = 0; i < 8; ++i) {
    bulk.push_back(bench.say(bench.connect_line("allowed.test", port) + "\x01" +
                             std::string(std::size_t{64} * 1024, 'x')));
  }
  bench.run_until([&] { return bench.origin_heard().size() > 1000; });
  const std::size_t before = bench.origin_heard().size();
  const auto talk = bench.tunnel("allowed.test", port, "\x01hello");
  EXPECT_LT(bench.origin_heard().size() - before, 64U * 1024)
      << "behind portions of 1 KiB, not behind whole buffers";
  bench.worker->break_off(nullptr);
  bench.run_until_idle();
}

TEST(Limits, OfBytesAreNeverExceededByAnyNumberOfConnections) {
  Reloading bench;
  const std::uint16_t port = bench.origin([](const std::string&) { return std::nullopt; });
  bench.swap(limited(port, "{upload: 100KiB/day}"));
  const std::string bytes = "\x01" + std::string(16 * 1024, 'x');
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(bench.say(bench.connect_line("allowed.test", port) + bytes));
  }
  bench.run_until([&] { return bench.origin_heard().size() >= 100 * 1024; });
  for (const auto& client : clients) client->socket.close();
  bench.run_until_idle();
  EXPECT_EQ(bench.origin_heard().size(), 100U * 1024);
  std::size_t told = 0;
  for (const auto& line : bench.audit_lines()) told += line["bytes_up"].get<std::size_t>();
  EXPECT_EQ(told, 100U * 1024) << "to the byte";
}

// A tunnel whose one direction waits for twice the idle time. Whether that cut it; nothing where
// the process stood still for so long that it could not say in time that it waits, which sluice
// does twice in that time.
std::optional<bool> is_cut_while_it_is_held_back() {
  constexpr auto idle = 4s;
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(limited(port, "{bandwidth: 1KiB/s}"));
  const auto client = bench.tunnel("allowed.test", port, "\x01one");
  bench.shared.timeouts.idle = idle;
  fill_line(bench, Direction::down, 8 * 1024);
  Clock::duration longest_stand_still{};
  for (int i = 0; !client->ended && !client->heard.ends_with("\x02"); ++i) {
    const auto before = Clock::now();
    ErrorCode error;  // the other direction goes on for a while
    if (i < 30) asio::write(client->socket, asio::buffer("\x02", 1), error);
    bench.worker->io.run_one_for(30ms);
    longest_stand_still = std::max(longest_stand_still, Clock::now() - before);
  }
  const bool is_cut = client->ended;
  if (is_cut && longest_stand_still > idle / 4) return std::nullopt;
  client->socket.close();
  bench.run_until_idle();
  EXPECT_EQ(bench.audit_lines().back()["reason"], "listed");
  return is_cut;
}

TEST(Limits, ThatHoldAConnectionBackAreNoIdling) {
  std::optional<bool> is_cut;
  for (int i = 0; i < 10 && !is_cut; ++i) is_cut = is_cut_while_it_is_held_back();
  ASSERT_TRUE(is_cut) << "this machine stands still all the time";
  EXPECT_FALSE(*is_cut);
}

TEST(Limits, DoNotKeepAnAnsweredRequestWaitingForTheRestOfItsUpload) {
  Reloading bench;
  Acceptor listener(bench.worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  const std::uint16_t port = listener.local_endpoint().port();
  bench.swap(limited(port, "{bandwidth: 1KiB/s}"));
  const auto client = bench.say(fmt::format(
      "POST http://allowed.test:{0}/ HTTP/1.1\r\nHost: allowed.test:{0}\r\nContent-Length: "
      "500\r\n\r\n",
      port));
  bench.run_until([&] { return bench.agent->metrics->totals().bytes_up > 0; });
  Socket origin = listener.accept();
  fill_line(bench, Direction::up);
  asio::write(client->socket, asio::buffer(std::string(500, 'x')));
  bench.run_for(100ms);
  asio::write(
      origin,
      asio::buffer(std::string("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")));
  bench.run_until_idle();
  EXPECT_THAT(client->heard, StartsWith("HTTP/1.1 413"));
}

TEST(Limits, LeaveTheLineOfAHeldBackTunnelInTheAccountWhenSluicedEnds) {
  for (const std::string_view kind : {"tunnel", "request"}) {
    SCOPED_TRACE(kind);
    Reloading bench;
    const std::uint16_t port = bench.origin([&](const std::string& so_far) {
      if (kind == "tunnel") return echo(so_far);
      if (!so_far.ends_with("\r\n\r\n")) return std::optional<std::string>();
      return std::optional<std::string>("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nfirst");
    });
    bench.swap(limited(port, "{bandwidth: 1KiB/s}"));
    const auto client =
        bench.say(kind == "tunnel" ? bench.connect_line("allowed.test", port) + "\x01one"
                                   : fmt::format("GET http://allowed.test:{0}/ HTTP/1.1\r\nHost: "
                                                 "allowed.test:{0}\r\n\r\n",
                                                 port));
    fill_line(bench, Direction::down);
    bench.run_until([&] { return bench.agent->metrics->totals().bytes_up > 0; });
    bench.run_for(100ms);
    bench.worker->break_off(nullptr);
    asio::post(bench.worker->io, [&] { bench.worker->io.stop(); });
    bench.worker->io.run_for(patience);
    EXPECT_EQ(bench.audit_lines().size(), 1U);
    bench.worker->io.restart();
    bench.run_until_idle();
  }
}

TEST(Limits, DoNotMakeAnAgentWaitForBytesThatWillNotBeSentAnyMore) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(limited(port, "{bandwidth: 1KiB/s}"));
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(
        bench.say(bench.connect_line("allowed.test", port) + "\x01" + std::string(3000, 'x')));
  }
  bench.run_until([&] { return bench.origin_heard().size() > 300; });
  bench.worker->break_off(bench.agent.get());
  bench.run_until_idle();
  // Forty portions of a quarter of a second had their turns.
  EXPECT_LT(bench.agent->allowance->pace(Direction::up, 1024, 1, Clock::now()), 3s);
  bench.tunnel("allowed.test", port, "\x01hello");
}

TEST(Limits, OfConnectionsMayBeAsHighAsTheyCanBeWritten) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(limited(port, "{connections: 4294967295}"));
  bench.tunnel("allowed.test", port, "\x01one");
}

TEST(Limits, ThatAPolicyLiftsOrChangesAreNeverHalfOfEach) {
  LiveLimits live;
  allowlists::Limits day;
  day.upload = {.bytes = std::uint64_t{1} << 30, .per = 24h};
  allowlists::Limits minute;
  minute.upload = {.bytes = 1024, .per = 1min};
  std::atomic<bool> over{false};
  std::thread changing([&] {
    for (int i = 0; !over; ++i)
      live.set(i % 3 == 0 ? day : i % 3 == 1 ? minute : allowlists::Limits());
  });
  int mixed = 0;
  for (const auto until = Clock::now() + 300ms; Clock::now() < until;) {
    const auto budget = live.budget(Direction::up);
    if (budget && budget != day.upload && budget != minute.upload) ++mixed;
  }
  over = true;
  changing.join();
  EXPECT_EQ(mixed, 0);
}

}  // namespace
}  // namespace sluice::proxy
