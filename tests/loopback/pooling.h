// Sessions over origins that stay connected, and pairs of connections to park.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "tests/loopback/reloading.h"

namespace sluice::proxy {

inline std::optional<std::string> ok_to(const std::string& so_far) {
  if (!so_far.ends_with("\r\n\r\n")) return std::nullopt;
  return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
}

struct Pooling : Reloading {
  explicit Pooling(AnswerTo answer = ok_to, bool closes = false)
      : port(origin(std::move(answer), closes)) {
    swap(open());
  }
  std::string open() const { return allow_host("allowed.test", port) + allow_loopback(port); }

  std::string request(std::string_view method = "GET", std::string_view more = "") const {
    return fmt::format(
        "{0} http://allowed.test:{1}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{2}\r\n", method,
        port, more);
  }
  std::string get(std::string_view method = "GET", std::string_view more = "") {
    return talk(netns::Role::proxy, request(method, more));
  }
  std::shared_ptr<Agent> other_agent(const std::string& name) {
    const auto policy =
        policy_of(fmt::format("version: 1\nagents:\n  {}:\n    allow:\n{}", name, open()));
    auto pair = netns::socket_pair();
    return std::make_shared<Agent>(name, policy, registry.agent(name),
                                   std::make_shared<const Fd>(std::move(pair->first)));
  }
  std::size_t kept() const { return worker->origins.size(); }

  const std::uint16_t port;
};

// Connections as the kernel has them: a pair on loopback, the client's side first.
inline std::pair<Socket, Socket> connected_pair(asio::io_context& io) {
  Acceptor listener(io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
  Socket client(io);
  client.connect(listener.local_endpoint());
  return {std::move(client), Socket(listener.accept())};
}

inline allowlists::Target target(std::string_view text) {
  return *allowlists::Target::parse(text, std::nullopt);
}

}  // namespace sluice::proxy
