// The end of a connection's life, whatever it does.
#include <gmock/gmock.h>

#include "tests/loopback/pooling.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::StartsWith;

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
