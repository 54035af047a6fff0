// A resolver, and the name servers it was told of, whose answers are the test's.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <sstream>

#include "proxy/daemon/spawn.h"
#include "proxy/egress/resolver.h"
#include "tests/loopback/patience.h"

namespace sluice::proxy {

using namespace std::chrono_literals;

inline constexpr std::uint16_t type_a = 1;
inline constexpr std::uint16_t type_cname = 5;
inline constexpr std::uint16_t type_aaaa = 28;

inline std::string number16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

inline std::string encoded(std::string_view name) {
  std::string bytes;
  std::istringstream labels{std::string(name)};
  for (std::string label; std::getline(labels, label, '.');) {
    bytes += static_cast<char>(label.size()) + label;
  }
  return bytes + '\0';
}

struct Asked {
  std::string bytes;  // the whole message
  std::string name;
  std::uint16_t type = 0;
  bool tcp = false;
};

// RFC 1035 4.1, of one question.
inline Asked read_question(std::string bytes, bool tcp) {
  Asked asked{.bytes = std::move(bytes), .tcp = tcp};
  std::size_t at = 12;
  while (asked.bytes[at] != 0) {
    const auto size = static_cast<std::size_t>(asked.bytes[at]);
    asked.name += (asked.name.empty() ? "" : ".") + asked.bytes.substr(at + 1, size);
    at += 1 + size;
  }
  asked.type = static_cast<std::uint16_t>(static_cast<unsigned char>(asked.bytes[at + 2]));
  return asked;
}

inline std::string record(std::string_view name, std::uint16_t type, const std::string& data,
                          unsigned ttl = 60) {
  return encoded(name) + number16(type) + number16(1) + number16(0) + number16(ttl) +
         number16(static_cast<unsigned>(data.size())) + data;
}

inline std::string address_record(std::string_view name, std::string_view address,
                                  unsigned ttl = 60) {
  const auto parsed = IpAddress::parse(address).value();
  const std::string data(reinterpret_cast<const char*>(parsed.bytes().data()),
                         parsed.is_v4() ? 4 : 16);
  return record(name, parsed.is_v4() ? type_a : type_aaaa, data, ttl);
}

struct Flags {
  unsigned code = 0;
  bool truncated = false;
  unsigned id_change = 0;
};

inline std::string reply(const Asked& asked, const std::vector<std::string>& records,
                         Flags flags = {}) {
  const std::string question = asked.bytes.substr(12, encoded(asked.name).size() + 4);
  std::string bytes = asked.bytes.substr(0, 2);
  bytes[0] = static_cast<char>(bytes[0] ^ flags.id_change);
  bytes += number16(0x8180 | flags.code | (flags.truncated ? 0x0200 : 0)) + number16(1) +
           number16(static_cast<unsigned>(records.size())) + number16(0) + number16(0) + question;
  for (const std::string& one : records) bytes += one;
  return bytes;
}

// Addresses of the family that was asked for.
inline std::string addresses(const Asked& asked, const std::string& list, unsigned ttl = 60) {
  std::vector<std::string> records;
  std::istringstream words(list);
  for (std::string word; words >> word;) {
    const bool v6 = word.find(':') != std::string::npos;
    if (v6 == (asked.type == type_aaaa)) {
      records.push_back(address_record(asked.name, word, ttl));
    }
  }
  return reply(asked, records);
}

using Replies = std::vector<std::string>;
using Zone = std::function<Replies(const Asked&)>;

// Speaks UDP and TCP on one port of a loopback address.
class DnsServer {
 public:
  DnsServer(asio::io_context& io, const char* address, Zone zone)
      : io_(io),
        zone_(std::move(zone)),
        tcp_(io, TcpEndpoint(asio::ip::make_address(address), 0)),
        udp_(io, asio::ip::udp::endpoint(tcp_.local_endpoint().address(),
                                         tcp_.local_endpoint().port())) {
    spawn(io_, serve_udp());
    spawn(io_, serve_tcp());
  }
  NameServer where() const {
    return {from_asio(tcp_.local_endpoint().address()), tcp_.local_endpoint().port()};
  }
  std::vector<std::string> asked;  // "name A udp"

 private:
  Replies answer(const Asked& question) {
    asked.push_back(fmt::format("{} {} {}", question.name, question.type == type_a ? "A" : "AAAA",
                                question.tcp ? "tcp" : "udp"));
    return zone_(question);
  }
  Task<void> serve_udp() {
    for (;;) {
      std::string packet(4096, '\0');
      asio::ip::udp::endpoint from;
      const auto [error, size] = co_await udp_.async_receive_from(asio::buffer(packet), from);
      if (error) co_return;
      packet.resize(size);
      const Asked question = read_question(std::move(packet), false);
      const Replies replies = answer(question);
      for (const std::string& one : replies) {
        co_await udp_.async_send_to(asio::buffer(one), from);
      }
    }
  }
  Task<void> serve_tcp() {
    for (;;) {
      auto [error, socket] = co_await tcp_.async_accept();
      if (error) co_return;
      spawn(io_, serve_connection(std::move(socket)));
    }
  }
  static Task<bool> fill(Socket& socket, std::string& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const auto [error, size] =
          co_await socket.async_read_some(asio::buffer(bytes.data() + done, bytes.size() - done));
      if (error) co_return false;
      done += size;
    }
    co_return true;
  }
  Task<void> serve_connection(Socket socket) {
    for (;;) {
      std::string prefix(2, '\0');
      const bool prefix_came = co_await fill(socket, prefix);
      if (!prefix_came) co_return;
      const auto size = std::size_t{static_cast<unsigned char>(prefix[0])} << 8 |
                        static_cast<unsigned char>(prefix[1]);
      std::string packet(size, '\0');
      const bool packet_came = co_await fill(socket, packet);
      if (!packet_came) co_return;
      const Asked question = read_question(std::move(packet), true);
      const Replies replies = answer(question);
      for (const std::string& one : replies) {
        const std::string framed = number16(static_cast<unsigned>(one.size())) + one;
        co_await asio::async_write(socket, asio::buffer(framed), Token());
      }
    }
  }

  asio::io_context& io_;
  Zone zone_;
  Acceptor tcp_;
  UdpSocket udp_;
};

// One resolver and the name servers it was told of.
class Names {
 public:
  explicit Names(std::vector<Zone> zones, std::chrono::milliseconds timeout = far_away) {
    auto settings = std::make_shared<ResolverSettings>();
    settings->timeout = timeout;
    for (Zone& zone : zones) {
      servers.push_back(std::make_unique<DnsServer>(io, "127.0.0.1", std::move(zone)));
      settings->servers.push_back(servers.back()->where());
    }
    resolver = std::move(*Resolver::create(io, settings));
  }
  explicit Names(Zone zone, std::chrono::milliseconds timeout = far_away)
      : Names(std::vector<Zone>{std::move(zone)}, timeout) {}

  struct Waiting {
    std::optional<Resolution> resolution;
    GiveUp give_up;
  };

  std::shared_ptr<Waiting> begin(std::string name, std::string agent = "coder-1") {
    auto waiting = std::make_shared<Waiting>();
    Question question{std::move(name), std::move(agent), &waiting->give_up};
    spawn(io, wait(std::move(question), waiting));
    return waiting;
  }
  template <class Condition>
  void run_until(Condition condition) {
    EXPECT_TRUE(proxy::run_until(io, condition)) << "it did not end";
  }
  // "192.0.2.1 2001:db8::1", or the reason for none.
  std::string resolve(const std::string& name, const std::string& agent = "coder-1") {
    const auto waiting = begin(name, agent);
    run_until([&] { return waiting->resolution.has_value(); });
    return shown(*waiting->resolution);
  }
  static std::string shown(const Resolution& resolution) {
    std::string text;
    for (const IpAddress& address : resolution.addresses) {
      text += (text.empty() ? "" : " ") + address.to_string();
    }
    return text.empty() ? std::string(reason_name(resolution.failure)) : text;
  }
  const std::vector<std::string>& asked(std::size_t server = 0) const {
    return servers.at(server)->asked;
  }

  asio::io_context io;
  std::vector<std::unique_ptr<DnsServer>> servers;
  std::unique_ptr<Resolver> resolver;

 private:
  Task<void> wait(Question question, std::shared_ptr<Waiting> waiting) {
    Resolution resolution = co_await resolver->resolve(std::move(question));
    waiting->resolution = std::move(resolution);
  }
};

inline Zone everywhere(const std::string& list, unsigned ttl = 60) {
  return [=](const Asked& asked) { return Replies{addresses(asked, list, ttl)}; };
}
inline Replies silence(const Asked&) { return {}; }
inline Zone fails_with(unsigned code) {
  return [=](const Asked& asked) { return Replies{reply(asked, {}, {.code = code})}; };
}
inline constexpr unsigned servfail = 2;
inline constexpr unsigned nxdomain = 3;
inline constexpr unsigned refused = 5;

}  // namespace sluice::proxy
