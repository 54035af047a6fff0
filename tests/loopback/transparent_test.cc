// Connections that were captured on their way to a literal address: what is dialled is the name
// that the agent's bytes say, or nothing.
#include <gmock/gmock.h>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

std::string u16(std::size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string client_hello(std::string_view name) {
  const std::string entry = std::string(1, '\0') + u16(name.size()) + std::string(name);
  const std::string list = u16(entry.size()) + entry;
  const std::string extension = u16(0) + u16(list.size()) + list;
  const std::string body = "\x03\x03" + std::string(32, 'r') + std::string(1, '\0') + u16(2) +
                           "\x13\x01" + std::string("\x01\x00", 2) + u16(extension.size()) +
                           extension;
  const std::string message = std::string("\x01\x00", 2) + u16(body.size()) + body;
  return "\x16\x03\x01" + u16(message.size()) + message;
}

// The agent's connections arrive as if they had been captured on their way to 127.0.0.2; the name
// allowed.test is 127.0.0.1, on the same port.
struct Captured : Reloading {
  explicit Captured(AnswerTo answer, std::string_view tls = "match")
      : port(origin(std::move(answer))),
        listener(worker->io, TcpEndpoint(asio::ip::make_address_v4("127.0.0.2"), port)) {
    swap(allow_host("allowed.test", port, fmt::format(", tls: {}", tls)) + allow_loopback(port));
  }

  std::shared_ptr<Client> captured(std::string_view bytes) {
    auto client = std::make_shared<Client>(worker->io);
    client->socket.connect(listener.local_endpoint());
    spawn(worker->io, serve(*worker, agent, Socket(listener.accept()), netns::Role::tproxy4));
    asio::write(client->socket, asio::buffer(bytes));
    spawn(worker->io, listen(client));
    return client;
  }
  std::string answer_to(std::string_view bytes) {
    const auto client = captured(bytes);
    run_until([&] { return client->ended; });
    run_until_idle();
    return client->heard;
  }
  std::string get(std::string_view host) const {
    return fmt::format("GET /x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host);
  }

  const std::uint16_t port;
  Acceptor listener;
};

std::optional<std::string> ok_to(const std::string& so_far) {
  if (!so_far.ends_with("\r\n\r\n")) return std::nullopt;
  return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
}
std::optional<std::string> hello_to(const std::string& so_far) {
  return so_far.size() < 40 ? std::nullopt : std::optional<std::string>("server hello");
}

TEST(Transparent, DialsTheAllowedNameThatAHostFieldSaysAndNotTheAddress) {
  Captured bench(ok_to);
  for (const std::string& host :
       {std::string("allowed.test"), fmt::format("allowed.test:{}", bench.port)}) {
    EXPECT_THAT(bench.answer_to(bench.get(host)), StartsWith("HTTP/1.1 200")) << host;
  }
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["host"], "allowed.test");
  EXPECT_EQ(lines[0]["port"], bench.port);
  EXPECT_EQ(lines[0]["address"], "127.0.0.1");
  EXPECT_EQ(lines[0]["via"], "transparent");
}

TEST(Transparent, RefusesOtherNamesAndOtherPortsInAHostField) {
  Captured bench(ok_to);
  EXPECT_THAT(bench.answer_to(bench.get("other.test")), HasSubstr("details=\"not_listed\""));
  const std::uint16_t open = bench.origin(ok_to);
  bench.swap(
      fmt::format("      - {{host: allowed.test, ports: [{0}, {1}]}}\n"
                  "      - {{cidr: 127.0.0.1/32, ports: [{0}, {1}]}}\n",
                  bench.port, open));
  for (const std::string& bytes :
       {bench.get(fmt::format("allowed.test:{}", open)),
        fmt::format("GET http://allowed.test:{}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                    open)}) {
    EXPECT_THAT(bench.answer_to(bytes), HasSubstr("details=\"host_mismatch\""));
  }
  EXPECT_EQ(bench.origin_connections(), 0) << "both ports are open, but this one was asked for";
}

TEST(Transparent, DialsTheAllowedNameOfAClientHello) {
  for (const std::string_view tls : {"require", "match"}) {
    Captured bench(hello_to, tls);
    const auto client = bench.captured(client_hello("Allowed.test"));
    bench.run_until([&] { return client->heard == "server hello" || client->ended; });
    EXPECT_EQ(client->heard, "server hello");
    client->socket.close();
    bench.run_until_idle();
    const auto lines = bench.audit_lines();
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_EQ(lines[0]["host"], "allowed.test");
    EXPECT_EQ(lines[0]["port"], bench.port);
    EXPECT_EQ(lines[0]["address"], "127.0.0.1");
    EXPECT_EQ(lines[0]["sni"], "Allowed.test");
  }
}

TEST(Transparent, RefusesAClientHelloForOtherNames) {
  Captured bench(hello_to);
  const std::string alert("\x15\x03\x03\x00\x02\x02\x31", 7);
  EXPECT_EQ(bench.answer_to(client_hello("other.test")), alert);
  EXPECT_EQ(bench.answer_to(client_hello("127.0.0.1")), alert);
  EXPECT_EQ(bench.origin_connections(), 0);
}

TEST(Transparent, LeavesALineOfADialThatNoRequestCameOf) {
  Captured bench(ok_to);
  bench.swap(fmt::format("      - {{cidr: 127.0.0.2/32, ports: [{}]}}\n", bench.port));
  const auto client = bench.captured("GET /x HTTP/1.1\r\nHo");
  bench.run_until([&] { return can_be_read(bench.listener.native_handle()); });  // dialled
  bench.run_for(200ms);
  client->socket.close();
  bench.run_until_idle();
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["reason"], "listed_cidr");
  EXPECT_EQ(lines[0]["address"], "127.0.0.2");
}

}  // namespace
}  // namespace sluice::proxy
