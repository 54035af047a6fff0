// What a tunnel moves, in small pieces and in bulk, arrives whole, in order, and in the account to
// the byte.
#include <boost/asio/write.hpp>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t mebibyte = std::size_t{1024} * 1024;

// No two of its places look alike over any length that a buffer has.
std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24);
  }
  bytes[0] = '\x01';  // no TLS, no HTTP
  return bytes;
}

PolicyPtr allowing(std::uint16_t port, std::string_view limits = "{}") {
  return policy_of(text_of(allow_host("allowed.test", port) + allow_loopback(port)) +
                   fmt::format("    limits: {}\n", limits));
}

// Answers the first byte with all of `bytes`.
Bench::AnswerTo answer_with(const std::string& bytes) {
  return [&bytes, told = false](const std::string& so_far) mutable -> std::optional<std::string> {
    if (so_far.empty() || std::exchange(told, true)) return std::nullopt;
    return bytes;
  };
}

constexpr std::string_view established = "HTTP/1.1 200 Connection Established\r\n\r\n";

std::string_view behind_head(const Client& client) {
  return std::string_view(client.heard).substr(std::min(established.size(), client.heard.size()));
}

Task<void> pour(std::shared_ptr<Client> client, std::string_view bytes) {
  co_await asio::async_write(client->socket, asio::buffer(bytes), Token());
  ErrorCode ignored;
  client->socket.shutdown(Socket::shutdown_send, ignored);
}

// The sums of the agent's account and of its audit lines.
void expect_account(Reloading& bench, std::uint64_t up, std::uint64_t down) {
  EXPECT_EQ(bench.totals().bytes_up, up);
  EXPECT_EQ(bench.totals().bytes_down, down);
  std::uint64_t told_up = 0;
  std::uint64_t told_down = 0;
  for (const auto& line : bench.audit_lines()) {
    told_up += line["bytes_up"].get<std::uint64_t>();
    told_down += line["bytes_down"].get<std::uint64_t>();
  }
  EXPECT_EQ(told_up, up);
  EXPECT_EQ(told_down, down);
}

TEST(Relay, MovesBulkDownWholeAndInOrder) {
  Reloading bench;
  const std::string bytes = pattern(24 * mebibyte + 12345);
  const std::uint16_t port = bench.origin(answer_with(bytes), true);
  bench.swap(allowing(port));
  const auto client = bench.say(bench.connect_line("allowed.test", port) + "\x01");
  bench.run_until([&] { return client->ended; });
  EXPECT_TRUE(behind_head(*client) == bytes);
  EXPECT_EQ(client->end, asio::error::eof);
  EXPECT_GT(bench.worker->pipes.open(), 0U) << "it was no bulk";
  client->socket.close();
  bench.run_until_idle();
  expect_account(bench, 1, bytes.size());
}

TEST(Relay, MovesBulkUpWholeAndInOrderAndThenTheEnd) {
  Reloading bench;
  const std::string bytes = pattern(24 * mebibyte + 54321);
  const std::uint16_t port =
      bench.origin([&](const std::string& so_far) -> std::optional<std::string> {
        return so_far.size() == bytes.size() ? std::optional<std::string>("thanks") : std::nullopt;
      });
  bench.swap(allowing(port));
  const auto client = bench.say(bench.connect_line("allowed.test", port));
  spawn(bench.worker->io, pour(client, bytes));
  bench.run_until([&] { return client->ended; });
  EXPECT_TRUE(bench.origin_heard() == bytes);
  EXPECT_EQ(behind_head(*client), "thanks") << "behind the agent's end of file";
  client->socket.close();
  bench.run_until_idle();
  expect_account(bench, bytes.size(), 6);
}

TEST(Relay, MovesBulkInMoreTunnelsThanThereArePipes) {
  Reloading bench;
  const std::string bytes = pattern(3 * mebibyte);
  bench.shared.limits.connections_per_agent = 100;
  std::vector<std::shared_ptr<Client>> clients;
  std::string allow;
  std::vector<std::uint16_t> ports;
  for (std::size_t i = 0; i < PipePool::most_pipes + 8; ++i) {
    ports.push_back(bench.origin(answer_with(bytes), true));
    allow += allow_host("allowed.test", ports.back()) + allow_loopback(ports.back());
  }
  bench.swap(allow);
  for (const std::uint16_t port : ports) {
    clients.push_back(bench.say(bench.connect_line("allowed.test", port) + "\x01"));
  }
  bench.run_until([&] {
    return std::all_of(clients.begin(), clients.end(), [](const auto& one) { return one->ended; });
  });
  for (const auto& client : clients) {
    EXPECT_TRUE(behind_head(*client) == bytes);
    client->socket.close();
  }
  bench.run_until_idle();
  EXPECT_LE(bench.worker->pipes.open(), PipePool::most_pipes);
  expect_account(bench, ports.size(), ports.size() * bytes.size());
}

TEST(Relay, CutsBulkAtTheBudgetToTheByte) {
  Reloading bench;
  const std::string bytes = pattern(12 * mebibyte);
  const std::uint16_t port = bench.origin(answer_with(bytes), true);
  bench.swap(allowing(port, "{download: 5000001B/day}"));
  const auto client = bench.say(bench.connect_line("allowed.test", port) + "\x01");
  bench.run_until([&] { return client->ended; });
  client->socket.close();
  bench.run_until_idle();
  EXPECT_EQ(bench.totals().bytes_down, 5'000'001U);
  EXPECT_TRUE(bytes.starts_with(behind_head(*client)));
  const auto lines = bench.audit_lines();
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.back()["reason"], "download_budget");
  EXPECT_EQ(lines.back()["bytes_down"], 5'000'001);
}

TEST(Relay, LosesNoPipeToTunnelsThatBreakWithBytesInThem) {
  Reloading bench;
  const std::string bytes = pattern(24 * mebibyte);
  for (std::size_t i = 0; i < 2 * PipePool::most_pipes; ++i) {
    const std::uint16_t port = bench.origin(answer_with(bytes), true);
    bench.swap(allowing(port));
    // It reads some of it, then nothing any more, so that the pipe fills, and breaks off.
    auto client = std::make_shared<Client>(bench.worker->io);
    client->socket = bench.arrive();
    const std::string line = bench.connect_line("allowed.test", port) + "\x01";
    asio::write(client->socket, asio::buffer(line));
    std::size_t read = 0;
    std::string some(256 * 1024, '\0');
    client->socket.non_blocking(true);
    bench.run_until([&] {
      ErrorCode error;
      if (read < 6 * mebibyte) read += client->socket.read_some(asio::buffer(some), error);
      return read >= 6 * mebibyte && bench.worker->pipes.open() > 0;
    });
    bench.worker->io.run_for(5ms);
    client->socket.close();
    bench.run_until_idle();
  }
  EXPECT_LE(bench.worker->pipes.open(), PipePool::most_pipes);
  // What comes next gets clean ones.
  const std::string next = pattern(4 * mebibyte);
  const std::uint16_t port = bench.origin(answer_with(next), true);
  bench.swap(allowing(port));
  const auto client = bench.say(bench.connect_line("allowed.test", port) + "\x01");
  bench.run_until([&] { return client->ended; });
  EXPECT_TRUE(behind_head(*client) == next);
  client->socket.close();
  bench.run_until_idle();
}

TEST(Relay, KnowsThatTheOriginSpokeFirstAlsoWhileItsBytesWaitForTheirTurn) {
  Reloading bench;
  const std::uint16_t port =
      bench.origin([](const std::string& so_far) { return so_far.empty() ? "ready\n" : "bye\n"; });
  bench.swap(allowing(port, "{bandwidth: 1KiB/s}"));
  const auto client = bench.say(bench.connect_line("allowed.test", port));
  bench.agent->allowance->pace(metrics::Direction::down, 1024, 1024, Clock::now());
  bench.run_until([&] { return client->heard == established && bench.origin_connections() == 1; });
  bench.run_for(100ms);
  const std::string request = "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n";
  asio::write(client->socket, asio::buffer(request));
  bench.run_until([&] { return behind_head(*client) == "ready\nbye\n"; });
  EXPECT_EQ(bench.origin_heard(), request) << "a tunnel is no proxy of requests";
  client->socket.close();
  bench.run_until_idle();
  expect_account(bench, request.size(), 10);
}

TEST(Relay, TellsWhichSideBrokeATunnel) {
  Reloading bench;
  const std::uint16_t port = bench.origin(echo);
  bench.swap(allowing(port));
  const auto client = bench.tunnel("allowed.test", port, "\x01hello");
  client->socket.set_option(asio::socket_base::linger(true, 0));
  client->socket.close();
  bench.run_until_idle();
  EXPECT_NE(bench.registry.exposition().find("sluice_tunnel_ends_total{end=\"agent_reset\"} 1\n"),
            std::string::npos);
  EXPECT_NE(bench.registry.exposition().find("sluice_tunnel_ends_total{end=\"origin_reset\"} 0\n"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::proxy
