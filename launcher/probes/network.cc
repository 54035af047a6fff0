#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/fd.h"
#include "base/io.h"
#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"

namespace sluice::launcher::probes {
namespace {

constexpr auto before_exec = When::before_exec;
constexpr auto in_proof = When::in_proof;

constexpr std::size_t largest_table = 65536;

constexpr const char* no_address = "no address was given to try";

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address make_address(const std::string& literal, std::uint16_t port) {
  Address address;
  auto& v4 = reinterpret_cast<sockaddr_in&>(address.storage);
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address.storage);
  if (::inet_pton(AF_INET, literal.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    address.size = sizeof(v4);
  } else if (::inet_pton(AF_INET6, literal.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.size = sizeof(v6);
  }
  return address;
}

// Where a connected socket sends from. What comes from loopback cannot leave the machine (RFC 1122
// 3.2.1.3, and the only link of the agent's namespace).
std::optional<std::string> foreign_source(int socket) {
  Address own;
  own.size = sizeof(own.storage);
  auto* const raw = reinterpret_cast<sockaddr*>(&own.storage);
  if (::getsockname(socket, raw, &own.size) != 0) return "an unknown address";
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(own.storage);
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(own.storage);
  char text[INET6_ADDRSTRLEN] = "";
  if (own.storage.ss_family == AF_INET) {
    if (ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) return std::nullopt;
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
  } else {
    if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) return std::nullopt;
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
  }
  return text;
}

Answer only_lo_is_up(const Bounds&) {
  const auto table = read_file("/proc/self/net/dev", largest_table);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!table || !socket) return reached("no answer of /proc/self/net/dev");
  for (std::string_view rest = *table; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;  // the two lines of headings
    line = line.substr(0, colon);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    ifreq request{};
    line.copy(request.ifr_name, IFNAMSIZ - 1);
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) continue;
    const bool leads_out = (request.ifr_flags & IFF_UP) && !(request.ifr_flags & IFF_LOOPBACK);
    if (leads_out) return reached(fmt::format("the link {}", line));
  }
  return held();
}

// Connecting a datagram socket asks for a route and sends nothing.
Answer every_route_is_loopback(const Bounds& bounds) {
  static const std::vector<std::string> of_documentation{"203.0.113.1", "2001:db8::1"};
  const auto& given = bounds.plan.outside.addresses;
  for (const std::string& literal : given.empty() ? of_documentation : given) {
    const Address address = make_address(literal, 443);
    const Fd socket(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket || ::connect(socket.get(), address.get(), address.size) != 0) continue;
    const auto source = foreign_source(socket.get());
    if (source) return reached(fmt::format("a route to {} from {}", literal, *source));
  }
  return held();
}

Answer no_other_families(const Bounds&) {
  return refused(
      {{"socket(AF_VSOCK)", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
       {"socket(AF_VSOCK)", SYS_socket, {AF_VSOCK | high_bit, SOCK_STREAM, 0}},
       {"socket(AF_PACKET)", SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
       {"socket(AF_PACKET)", SYS_socket, {AF_PACKET | high_bit, SOCK_RAW, 0}},
       {"socket(AF_XDP)", SYS_socket, {AF_XDP, SOCK_RAW, 0}},
       {"socket(AF_ALG)", SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}},
       {"socket(NETLINK_NETFILTER)", SYS_socket, {AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER}},
       {"socket(NETLINK_SOCK_DIAG)", SYS_socket, {AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG}}});
}

Answer no_raw_sockets(const Bounds&) {
  return refused({{"socket(SOCK_RAW)", SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_RAW}},
                  {"socket(SOCK_RAW)", SYS_socket, {AF_INET6, SOCK_RAW, IPPROTO_RAW}},
                  {"socket(IPPROTO_ICMP)", SYS_socket, {AF_INET, SOCK_DGRAM, IPPROTO_ICMP}}});
}

Answer no_change_of_links(const Bounds&) {
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return reached("no answer of socket(2)");
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return reached("no answer of lo");
  // To what they are already.
  return refused({"setting the flags of lo",
                  SYS_ioctl,
                  {static_cast<unsigned long>(socket.get()), SIOCSIFFLAGS,
                   reinterpret_cast<unsigned long>(&request)}});
}

Answer no_place_beside_the_proxy(const Bounds&) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return reached("no answer of socket(2)");
  const Address address = make_address("127.0.0.1", 3128);
  const int yes = 1;
  for (const int option : {SO_REUSEADDR, SO_REUSEPORT}) {
    static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, option, &yes, sizeof(yes)));
  }
  if (::bind(socket.get(), address.get(), address.size) != 0) return held();
  return ::listen(socket.get(), 1) == 0 ? reached("connections to the proxy") : held();
}

bool is_ready(int socket, short events, const Bounds& bounds) {
  pollfd one{socket, events, 0};
  return ::poll(&one, 1, static_cast<int>(bounds.patience.count())) > 0;
}

Answer tcp_to(const std::string& literal, std::uint16_t port, const Bounds& bounds) {
  const Address address = make_address(literal, port);
  const Fd socket(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return held();  // a family that this kernel does not have
  const linger reset{1, 0};
  static_cast<void>(::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
  const int done = ::connect(socket.get(), address.get(), address.size);
  if (done != 0 && errno != EINPROGRESS) return held();
  if (const auto source = foreign_source(socket.get())) {
    return reached(fmt::format("{} port {} from {}", literal, port, *source));
  }
  if (done == 0 || is_ready(socket.get(), POLLOUT, bounds)) return held();
  return reached(fmt::format("{} port {}, which never answered", literal, port));
}

Answer tcp_ends_at_the_proxy(const Bounds& bounds) {
  if (bounds.plan.outside.addresses.empty()) return not_applicable(no_address);
  for (const std::string& literal : bounds.plan.outside.addresses) {
    for (const int port : {443, 80, 22}) {
      Answer answer = tcp_to(literal, static_cast<std::uint16_t>(port), bounds);
      if (answer.kind != Answer::Kind::held) return answer;
    }
  }
  return held();
}

// A refusal comes as an error of the socket that sent (udp(7)).
Answer udp_to(const std::string& literal, std::uint16_t port, const Bounds& bounds) {
  const Address address = make_address(literal, port);
  const Fd socket(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), address.get(), address.size) != 0) return held();
  constexpr std::string_view word = "sluice prove";
  if (::send(socket.get(), word.data(), word.size(), 0) < 0) return held();
  // POLLERR is always waited for, and alone here (poll(2)).
  if (is_ready(socket.get(), 0, bounds)) return held();
  return reached(fmt::format("{} port {}, which took a datagram", literal, port));
}

Answer udp_is_refused(const Bounds& bounds) {
  if (bounds.plan.outside.addresses.empty()) return not_applicable(no_address);
  for (const std::string& literal : bounds.plan.outside.addresses) {
    for (const int port : {443, 123}) {
      Answer answer = udp_to(literal, static_cast<std::uint16_t>(port), bounds);
      if (answer.kind != Answer::Kind::held) return answer;
    }
  }
  return held();
}

// The name servers of the root, which every true resolver knows (RFC 1035 4.1, RFC 8109).
constexpr unsigned char root_question[] = {0x51, 0x0e, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1};
constexpr std::size_t answer_count = 6;  // where the header has it

Answer dns_at(const std::string& literal, const Bounds& bounds) {
  constexpr std::uint16_t dns_port = 53;
  const Address address = make_address(literal, dns_port);
  const Fd socket(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), address.get(), address.size) != 0) return held();
  if (::send(socket.get(), root_question, sizeof(root_question), 0) < 0) return held();
  if (!is_ready(socket.get(), POLLIN, bounds)) {
    return reached(fmt::format("{} port {}, which never answered", literal, dns_port));
  }
  unsigned char answer[512];
  const ssize_t size = ::recv(socket.get(), answer, sizeof(answer), 0);
  if (size <= static_cast<ssize_t>(answer_count) + 1) return held();  // refused
  if (answer[answer_count] == 0 && answer[answer_count + 1] == 0) return held();
  return reached(fmt::format("a resolver at {}", literal));
}

Answer dns_knows_nothing(const Bounds& bounds) {
  if (Answer own = dns_at("127.0.0.1", bounds); own.kind != Answer::Kind::held) return own;
  for (const std::string& literal : bounds.plan.outside.addresses) {
    if (Answer answer = dns_at(literal, bounds); answer.kind != Answer::Kind::held) return answer;
  }
  return held();
}

constexpr Probe probes[] = {
    {"links", "looks for a network link that is up", before_exec, only_lo_is_up},
    {"routes", "asks for a route that leads elsewhere than to itself", before_exec,
     every_route_is_loopback},
    {"socket families", "opens vsock, packet, XDP, crypto and netfilter sockets", before_exec,
     no_other_families},
    {"raw sockets", "opens raw and ICMP sockets", before_exec, no_raw_sockets},
    {"changing links", "sets the flags of lo", before_exec, no_change_of_links},
    {"tcp", "connects to addresses of others and of this machine", in_proof, tcp_ends_at_the_proxy},
    {"udp", "sends datagrams to addresses of others and of this machine", in_proof, udp_is_refused},
    {"dns", "asks for the root's name servers", in_proof, dns_knows_nothing},
    {"proxy's ports", "listens where the proxy does", in_proof, no_place_beside_the_proxy},
};

}  // namespace

std::span<const Probe> network_probes() { return probes; }

}  // namespace sluice::launcher::probes
