// A bench with an explicit listener in front of it.
#pragma once

#include <fmt/core.h>
#include <openssl/evp.h>

#include "proxy/daemon/door.h"
#include "tests/loopback/reloading.h"

namespace sluice::proxy {

// Of the password "right", with few rounds.
inline constexpr std::string_view right_hash =
    "$6$rounds=1000$saltsalt$dfMP2LY3oP.RCle.MrovYod7J5ZWd7wa2WJOtw1cdMugHgIZ8H3PUFaxN7fS6Rbcl4Yomr"
    "lE/fCkobwA8g/as/";

inline std::string base64(std::string_view text) {
  std::string out(text.size() * 4 / 3 + 8, '\0');
  const int size = ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

inline std::string basic(std::string_view user_and_password) {
  return fmt::format("Proxy-Authorization: Basic {}\r\n", base64(user_and_password));
}

inline Config::Listener by_password() {
  const std::string hash(right_hash);
  return {.who = Config::Listener::ByPassword{{{"coder-3", hash}, {"coder-4", hash}}}};
}

inline Config::Listener by_source() {
  return {.who = Config::Listener::BySource{{{*Cidr::parse("10.1.0.0/24"), "coder-lan"},
                                             {*Cidr::parse("10.1.0.7"), "coder-2"},
                                             {*Cidr::parse("2001:db8::/64"), "coder-6"}}}};
}

inline Config::Listener for_one() { return {.who = Config::Listener::Fixed{"coder-1"}}; }

// Answers HTTP requests, and echoes anything else.
inline std::optional<std::string> http_or_echo(const std::string& so_far) {
  if (!so_far.starts_with("GET ") && !so_far.starts_with("POST ")) return echo(so_far);
  if (so_far.find("\r\n\r\n") == std::string::npos) return std::nullopt;
  return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
}

// Agents coder-* may reach allowed.test on the origin's port.
class Listening : public Reloading {
 public:
  explicit Listening(const Config::Listener& listener, const Config::Limits& limits = {})
      : acceptor_(worker->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0)) {
    shared.limits = limits;
    port = origin(http_or_echo);
    agents.set_policy(allowing("allowed.test"));
    std::shared_ptr<const TlsFront> tls;
    if (listener.tls) {
      auto made = TlsFront::create(*listener.tls);
      if (!made) throw std::runtime_error(to_string(made.error()));
      tls = std::move(*made);
    }
    auto made = Door::create(listener, std::move(tls), agents, shared.limits);
    if (!made) throw std::runtime_error(to_string(made.error()));
    door = std::move(*made);
    spawn(worker->io, accept());
  }
  ~Listening() { door->end(); }

  PolicyPtr allowing(std::string_view host) const {
    return policy_of(fmt::format("version: 1\nagents:\n  \"coder-*\":\n    allow:\n{}{}",
                                 allow_host(host, port), allow_loopback(port)));
  }
  std::string get(std::string_view more = "", std::string_view host = "allowed.test") const {
    return fmt::format("GET http://{0}:{1}/x HTTP/1.1\r\nHost: {0}:{1}\r\n{2}\r\n", host, port,
                       more);
  }
  std::string connect(std::string_view more = "") const {
    return fmt::format("CONNECT allowed.test:{0} HTTP/1.1\r\nHost: allowed.test:{0}\r\n{1}\r\n",
                       port, more);
  }

  // A client whose bytes are sent at once, and who listens.
  std::shared_ptr<Client> say(std::string_view bytes, std::string_view source = "127.0.0.1") {
    from = *IpAddress::parse(source);
    auto client = std::make_shared<Client>(worker->io);
    client->socket.connect(acceptor_.local_endpoint());
    const int before = arrived_;
    ErrorCode ignored;  // it may have been turned out already
    asio::write(client->socket, asio::buffer(bytes), ignored);
    spawn(worker->io, listen(client));
    run_until([&] { return arrived_ > before; });
    return client;
  }
  // What is heard until the connection ends.
  std::string talk(std::string_view bytes, std::string_view source = "127.0.0.1") {
    const auto client = say(bytes, source);
    run_until([&] { return client->ended; });
    return client->heard;
  }
  // What is heard until it ends so.
  std::string talk_until(std::string_view bytes, std::string_view end,
                         std::string_view source = "127.0.0.1") {
    const auto client = say(bytes, source);
    run_until([&] { return client->ended || client->heard.ends_with(end); });
    client->socket.close();
    return client->heard;
  }
  void settle() {
    run_until([&] { return agents.sessions() == 0 && door->fronts() == 0; });
  }
  metrics::Totals totals_of(const std::string& name) {
    return agents.keep(name)->metrics->totals();
  }
  std::uint64_t denied_to_nobody(Reason reason) {
    return agents.nobody()->metrics->totals().denied[static_cast<std::size_t>(reason)];
  }
  std::uint16_t listening_port() const { return acceptor_.local_endpoint().port(); }

  std::uint16_t port = 0;
  Allowances allowances;
  ListenerAgents agents{registry, allowances};
  std::shared_ptr<Door> door;
  IpAddress from = IpAddress::v4(0x7f000001);

 private:
  Task<void> accept() {
    for (;;) {
      auto [error, socket] = co_await acceptor_.async_accept();
      if (error) co_return;
      ++arrived_;
      door->receive(*worker, std::move(socket), from);
    }
  }

  Acceptor acceptor_;
  int arrived_ = 0;
};

}  // namespace sluice::proxy
