// A bench whose agent's policy changes while its connections are open.
#pragma once

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "allowlists/load.h"
#include "base/io.h"
#include "proxy/daemon/spawn.h"
#include "tests/loopback/bench.h"

namespace sluice::proxy {

using PolicyPtr = std::shared_ptr<const allowlists::Policy>;

inline std::string text_of(std::string_view allow, std::string_view mode = "enforce") {
  return fmt::format("version: 1\nagents:\n  coder-1:\n    mode: {}\n    allow:\n{}", mode, allow);
}

inline PolicyPtr policy_of(const std::string& text) {
  const allowlists::Source source{"policy.yaml", text};
  auto loaded = allowlists::load(std::span(&source, 1));
  if (!loaded) throw std::runtime_error(to_string(loaded.error().front()));
  return loaded->policy;
}

inline std::optional<std::string> echo(const std::string& so_far) {
  return so_far.empty() ? std::nullopt : std::optional(so_far);
}

// One end of a conversation through sluice.
struct Client {
  explicit Client(asio::io_context& io) : socket(io) {}
  Socket socket;
  std::string heard;
  ErrorCode end;  // why nothing more is heard
  bool ended = false;
};

inline Task<void> listen(std::shared_ptr<Client> client) {
  std::array<char, 4096> chunk;
  while (!client->ended) {
    const auto [error, size] = co_await client->socket.async_read_some(asio::buffer(chunk));
    client->heard.append(chunk.data(), size);
    client->end = error;
    client->ended = bool(error);
  }
}

// An agent whose policy is changed, with its audit lines and what it is told.
class Reloading : public Bench {
 public:
  explicit Reloading(std::string_view allow = "      - {host: nowhere.test}\n")
      : Bench(allow), audit_file_(::memfd_create("audit", MFD_CLOEXEC)) {
    auto pair = netns::socket_pair();
    told_ = std::move(pair->second);
    agent = std::make_shared<Agent>("coder-1", policy_of(text_of(allow)), registry.agent("coder-1"),
                                    std::make_shared<const Fd>(std::move(pair->first)));
    audit_ = std::make_unique<metrics::AuditLog>(Fd(::dup(audit_file_.get())), registry.audit());
    shared.audit = audit_.get();
  }

  void swap(PolicyPtr policy) {
    agent->set_policy(std::move(policy));
    worker->review_sessions();
  }
  void swap(std::string_view allow) { swap(policy_of(text_of(allow))); }

  Socket arrive() {
    Acceptor listener(worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
    Socket client(worker->io);
    client.connect(listener.local_endpoint());
    spawn(worker->io, serve(*worker, agent, Socket(listener.accept()), netns::Role::proxy));
    return client;
  }

  std::shared_ptr<Client> say(std::string_view bytes) {
    auto client = std::make_shared<Client>(worker->io);
    client->socket = arrive();
    asio::write(client->socket, asio::buffer(bytes));
    spawn(worker->io, listen(client));
    return client;
  }
  // Through CONNECT, with the agent's first bytes; answers when the origin echoed them.
  std::shared_ptr<Client> tunnel(std::string_view host, std::uint16_t port,
                                 std::string_view first) {
    auto client = say(connect_line(host, port) + std::string(first));
    run_until([&] { return client->heard.ends_with(first) || client->ended; });
    EXPECT_TRUE(client->heard.ends_with(first)) << client->heard;
    return client;
  }
  static std::string connect_line(std::string_view host, std::uint16_t port) {
    return fmt::format("CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n\r\n", host, port);
  }

  void run_until(const std::function<bool()>& condition) {
    EXPECT_TRUE(proxy::run_until(worker->io, condition)) << "it did not come about";
  }
  // So long, and then all that is ready.
  void run_for(std::chrono::milliseconds time) { proxy::run_for(worker->io, time); }
  void run_until_idle() {
    run_until([&] { return agent->sessions == 0; });
  }

  // All lines so far, in order. Nothing is written afterwards.
  std::vector<nlohmann::json> audit_lines() {
    shared.audit = nullptr;
    audit_.reset();
    ::lseek(audit_file_.get(), 0, SEEK_SET);
    const std::string text = *read_fd(audit_file_.get(), "audit", 1 << 24);
    std::vector<nlohmann::json> lines;
    for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos;
         at = end + 1) {
      lines.push_back(nlohmann::json::parse(text.substr(at, end - at)));
    }
    return lines;
  }
  std::vector<std::string> sentences() {
    std::vector<std::string> said;
    ::fcntl(told_.get(), F_SETFL, O_NONBLOCK);
    for (;;) {
      const auto packet = netns::receive_packet(told_.get());
      if (!packet || !*packet || (*packet)->closed) return said;
      const auto answer = netns::decode_answer((*packet)->bytes);
      if (const auto* denied = std::get_if<netns::Denied>(&*answer))
        said.push_back(denied->sentence);
    }
  }
  bool shows(std::string_view metric) {
    return registry.exposition().find(metric) != std::string::npos;
  }

 private:
  Fd audit_file_;
  Fd told_;
  std::unique_ptr<metrics::AuditLog> audit_;
};

inline std::string allow_host(std::string_view host, std::uint16_t port,
                              std::string_view more = "") {
  return fmt::format("      - {{host: {}, ports: [{}]{}}}\n", host, port, more);
}
inline std::string allow_loopback(std::uint16_t port) {
  return fmt::format("      - {{cidr: 127.0.0.1/32, ports: [{}]}}\n", port);
}

}  // namespace sluice::proxy
