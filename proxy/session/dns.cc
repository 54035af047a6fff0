#include "proxy/session/dns.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <variant>

#include "allowlists/address_guard.h"
#include "base/log.h"

namespace sluice::proxy {
namespace {

using metrics::DnsOutcome;

constexpr std::uint32_t answer_ttl = 60;  // seconds
constexpr int datagrams_a_turn = 64;      // then other connections of the thread get theirs

std::string answer_allowed(Agent& agent, const std::string& name, const wire::DnsQuery& query,
                           wire::DnsTransport transport) {
  if (query.type != wire::dns_type_a && query.type != wire::dns_type_aaaa) {
    agent.metrics->dns(DnsOutcome::no_data);
    return wire::dns_no_data(query, transport);
  }
  const auto given = agent.names.give(name);
  // The question is asked again, of the sluiced that gives names from now on.
  if (!given && agent.names.is_frozen()) return {};
  const bool told = given && (!given->is_new || agent.lease.tell_binding({name, given->index}));
  if (!told) {
    // Or the next question would be answered with an address of which the lease holder never heard.
    if (given) agent.names.take_back(name);
    agent.metrics->dns(DnsOutcome::exhausted);
    return wire::dns_server_failure(query, "sluice: this agent has used up its names", transport);
  }
  agent.metrics->dns(DnsOutcome::answered);
  const IpAddress address = query.type == wire::dns_type_a ? allowlists::synthetic_v4(given->index)
                                                           : allowlists::synthetic_v6(given->index);
  return wire::dns_addresses(query, std::span(&address, 1), answer_ttl, transport);
}

// "_https._tcp.example.com" -> "example.com" (RFC 8552): the host a service question is about.
// Nothing for other names.
std::optional<allowlists::Host> service_host(const allowlists::Host& asked) {
  std::string_view rest = asked.name();
  while (rest.starts_with('_')) {
    const std::size_t dot = rest.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(dot + 1);
  }
  if (rest.size() == asked.name().size()) return std::nullopt;
  auto host = allowlists::Host::parse(rest);
  if (!host || !host->is_name()) return std::nullopt;
  return std::move(*host);
}

// Programs ask for services of a host they may reach (SRV, HTTPS, TXT): there are none, and that is
// no denial worth a line and a sentence.
bool asks_service_of_allowed(const Gate& gate, const allowlists::Host& asked,
                             const wire::DnsQuery& query) {
  if (query.type == wire::dns_type_a || query.type == wire::dns_type_aaaa) return false;
  const auto host = service_host(asked);
  return host && gate.ask_name(*host);
}

// One datagram with the addresses it came from and was sent to.
struct Datagram {
  std::array<std::uint8_t, 4096> bytes;
  std::size_t size = 0;
  sockaddr_in6 from{};  // or a sockaddr_in, on an IPv4 socket
  socklen_t from_size = 0;
  // An IPv4 socket is one of a kernel without IPv6; any other tells IPv4 by mapped addresses.
  std::variant<std::monostate, in_pktinfo, in6_pktinfo> to;
};

void note_destination(const cmsghdr& control, Datagram& datagram) {
  const bool is_v4 = datagram.from.sin6_family == AF_INET;
  if (!is_v4 && control.cmsg_level == IPPROTO_IPV6 && control.cmsg_type == IPV6_PKTINFO) {
    std::memcpy(&datagram.to.emplace<in6_pktinfo>(), CMSG_DATA(&control), sizeof(in6_pktinfo));
  } else if (is_v4 && control.cmsg_level == IPPROTO_IP && control.cmsg_type == IP_PKTINFO) {
    std::memcpy(&datagram.to.emplace<in_pktinfo>(), CMSG_DATA(&control), sizeof(in_pktinfo));
  }
}

bool receive(int socket, Datagram& datagram) {
  iovec part{datagram.bytes.data(), datagram.bytes.size()};
  alignas(cmsghdr) std::array<char, 256> control;
  msghdr message{};
  message.msg_name = &datagram.from;
  message.msg_namelen = sizeof datagram.from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT);
  if (size < 0) return false;
  datagram.size = (message.msg_flags & MSG_TRUNC) != 0 ? 0 : static_cast<std::size_t>(size);
  datagram.from_size = message.msg_namelen;
  datagram.to = std::monostate();
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    note_destination(*c, datagram);
  }
  return true;
}

template <class Info>
void put_control(msghdr& message, int level, int type, const Info& info) {
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(sizeof info);
  std::memcpy(CMSG_DATA(c), &info, sizeof info);
  message.msg_controllen = CMSG_SPACE(sizeof info);
}

// From the address that was asked: a resolver takes an answer from no other. Best effort, as UDP
// is.
void reply(int socket, Datagram& datagram, const std::string& answer) {
  iovec part{const_cast<char*>(answer.data()), answer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
  msghdr message{};
  message.msg_name = &datagram.from;
  message.msg_namelen = datagram.from_size;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (const auto* asked = std::get_if<in6_pktinfo>(&datagram.to)) {
    put_control(message, IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{asked->ipi6_addr, 0});
  } else if (const auto* asked4 = std::get_if<in_pktinfo>(&datagram.to)) {
    put_control(message, IPPROTO_IP, IP_PKTINFO, in_pktinfo{0, asked4->ipi_addr, {}});
  } else {
    return;
  }
  (void)::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

std::string answer_dns(Worker& worker, const std::shared_ptr<Agent>& agent,
                       std::span<const std::uint8_t> message, wire::DnsTransport transport) {
  const auto query = wire::parse_dns_query(message);
  if (!query) {
    agent->metrics->dns(DnsOutcome::malformed);
    return query.error().reply;
  }
  const Gate gate(worker, agent);
  const auto host = allowlists::Host::parse(query->name);
  if (!host || !host->is_name() || query->klass != wire::dns_class_in) {
    Visit visit = gate.malformed(metrics::Via::dns, query->name, Reason::bad_host);
    return wire::dns_refusal(
        *query,
        gate.refuse(visit, Reason::bad_host, host ? "no name of the Internet" : host.error().why),
        transport);
  }
  Visit visit = gate.ask_name(*host);
  if (visit.reason() == Reason::not_listed && asks_service_of_allowed(gate, *host, *query)) {
    agent->metrics->dns(DnsOutcome::no_data);
    return wire::dns_no_data(*query, transport);
  }
  if (!visit) return wire::dns_refusal(*query, gate.refuse(visit), transport);
  return answer_allowed(*agent, host->name(), *query, transport);
}

namespace {

// One question, if there is one.
bool answer_next(Worker& worker, const std::shared_ptr<Agent>& agent, int socket,
                 Datagram& datagram) try {
  if (!receive(socket, datagram)) return false;
  worker.shared.registry.connection(metrics::Via::dns);
  const auto message = std::span(datagram.bytes).first(datagram.size);
  const std::string answer = answer_dns(worker, agent, message, wire::DnsTransport::udp);
  if (!answer.empty()) reply(socket, datagram, answer);
  return true;
} catch (const std::exception& error) {
  // No memory, above all: this question has no answer, those behind it shall have theirs.
  log::error("a DNS question of agent '{}' failed: {}", agent->name, error.what());
  return true;
}

}  // namespace

Task<void> serve_dns_udp(Worker& worker, std::shared_ptr<Agent> agent,
                         std::shared_ptr<UdpSocket> socket) {
  auto datagram = std::make_unique<Datagram>();
  for (;;) {
    const auto [error] = co_await socket->async_wait(UdpSocket::wait_read);
    if (error) co_return;
    int left = datagrams_a_turn;
    while (left > 0 && answer_next(worker, agent, socket->native_handle(), *datagram)) --left;
  }
}

Task<void> serve_dns_tcp(Session& session) {
  for (;;) {
    session.deadline.arm(session.worker.shared.timeouts.first_byte);
    const auto whole = [&]() -> std::optional<std::string_view> {
      const std::string_view held = session.inbox.view();
      if (held.size() < 2) return std::nullopt;
      const std::size_t size =
          std::size_t{static_cast<std::uint8_t>(held[0])} << 8 | static_cast<std::uint8_t>(held[1]);
      if (held.size() < 2 + size) return std::nullopt;
      return held.substr(2, size);
    };
    while (!whole()) {
      const bool more = co_await session.more();
      if (!more) co_return;
    }
    session.worker.shared.registry.connection(metrics::Via::dns);
    const std::string_view message = *whole();
    const std::string answer = answer_dns(session.worker, session.agent, wire::as_octets(message),
                                          wire::DnsTransport::tcp);
    session.inbox.consume(message.size() + 2);
    if (answer.empty()) co_return;
    std::string framed{static_cast<char>(answer.size() >> 8), static_cast<char>(answer.size())};
    framed += answer;
    const bool said = co_await session.say(framed);
    if (!said) co_return;
  }
}

}  // namespace sluice::proxy
