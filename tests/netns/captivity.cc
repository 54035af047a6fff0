#include "captivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "netns/network.h"

namespace sluice::netns::test {
namespace {

// A link with a way to everywhere, whose packets are seen; the kernel's own talk about it apart.
class Outside {
 public:
  Outside() {
    exists_ = add_link_errno("veth", "out0") == 0;
    if (!exists_) return;
    // Without ARP and neighbours, so that a packet to anywhere is on the wire at once.
    bring_up("out0", IFF_UP | IFF_NOARP);
    bring_up("veth0", IFF_UP | IFF_NOARP);
    for (const char* address : {"198.51.100.1", "2001:db8:1::1"}) add_address(address);
    for (const int family : {AF_INET, AF_INET6}) add_route(family);
    sniffer_.reset(
        ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
    listen_abstract();
  }
  bool exists() const { return exists_; }

  // A packet of the outside's own is seen: at latest when the kernel has noticed that the link is
  // up.
  bool sees(const Endpoint& to) {
    for (int tries = 0; tries < 1000; ++tries) {
      send_udp(to, own_marker);
      (void)packets();
      if (sees_own_) return true;
      ::usleep(20'000);
    }
    return false;
  }

  // The packets since the last call: all but the ICMPv6 of the outside's kernel, and what sees()
  // sent, of which the last may come late.
  int packets() {
    int seen = 0;
    sees_own_ = false;
    std::array<char, 2048> bytes{};
    sockaddr_ll from{};
    socklen_t size = sizeof(from);
    for (;;) {
      const ssize_t got = ::recvfrom(sniffer_.get(), bytes.data(), bytes.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 0) return seen;
      if (from.sll_hatype == ARPHRD_LOOPBACK) continue;
      const std::string_view packet(bytes.data(), static_cast<std::size_t>(got));
      const bool is_own = packet.find(own_marker) != std::string_view::npos;
      sees_own_ |= is_own;
      if (is_own || is_own_talk(from.sll_protocol, packet)) continue;
      ++seen;
    }
  }

 private:
  static bool is_own_talk(std::uint16_t protocol, std::string_view packet) {
    if (packet.find(marker) != std::string_view::npos) return false;
    if (protocol != htons(ETH_P_IPV6)) return false;
    constexpr std::size_t next_header = 6;
    // Hop-by-hop: multicast listener reports; ICMPv6: neighbours and routers.
    return packet.size() > 40 && (packet[next_header] == 0 || packet[next_header] == 58);
  }

  static void bring_up(const char* name, unsigned flags) {
    Message message(RTM_NEWLINK, 0);
    auto* info = message.put<ifinfomsg>();
    info->ifi_index = static_cast<int>(::if_nametoindex(name));
    info->ifi_flags = flags;
    info->ifi_change = flags;
    EXPECT_EQ(message.send(), 0);
  }
  static void add_address(const char* text) {
    const IpAddress address = endpoint(text, 0).address;
    Message message(RTM_NEWADDR, NLM_F_CREATE);
    auto* info = message.put<ifaddrmsg>();
    info->ifa_family = address.is_v4() ? AF_INET : AF_INET6;
    info->ifa_prefixlen = address.is_v4() ? 24 : 64;
    info->ifa_flags = IFA_F_NODAD;
    info->ifa_index = ::if_nametoindex("out0");
    mnl_attr_put(message.header, IFA_LOCAL, address.is_v4() ? 4 : 16, address.bytes().data());
    EXPECT_EQ(message.send(), 0);
  }
  static void add_route(int family) {
    Message message(RTM_NEWROUTE, NLM_F_CREATE);
    auto* route = message.put<rtmsg>();
    route->rtm_family = static_cast<unsigned char>(family);
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_scope = RT_SCOPE_LINK;
    route->rtm_type = RTN_UNICAST;
    mnl_attr_put_u32(message.header, RTA_OIF, ::if_nametoindex("out0"));
    EXPECT_EQ(message.send(), 0);
  }
  void listen_abstract() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path + 1, abstract_name);
    abstract_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(abstract_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(abstract_.get(), 4), 0);
  }

  static constexpr std::string_view own_marker = "of the outside itself";
  bool exists_ = false;
  bool sees_own_ = false;
  Fd sniffer_;
  Fd abstract_;
};

}  // namespace

void in_captivity(const std::function<void(Network&, pid_t outside)>& attempts) {
  in_fresh_namespace([&] {
    Outside outside;
    if (!outside.exists()) GTEST_SKIP() << "the kernel has no links of kind veth";
    for (const char* address : {"203.0.113.77", "2001:db8::77"}) {
      ASSERT_TRUE(outside.sees(endpoint(address, 7))) << "a capture that sees nothing";
    }
    (void)outside.packets();
    const pid_t parent = ::getpid();
    const pid_t jail = ::fork();
    if (jail == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::alarm(90);
      EXPECT_EQ(::unshare(CLONE_NEWNET), 0);
      auto sockets = build_agent_network();
      EXPECT_TRUE(sockets) << to_string(sockets.error());
      if (!sockets) ::_exit(1);
      Network network(std::move(*sockets));
      as_agent([&] { attempts(network, parent); });
      std::fflush(nullptr);
      ::_exit(testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 1;
    ::waitpid(jail, &status, 0);
    EXPECT_EQ(status, 0) << "in the agent's network, see above";
    EXPECT_EQ(outside.packets(), 0) << "packets left the agent's network";
  });
}

std::string told(int error) { return error == 0 ? "worked" : strerrorname_np(error); }
std::string told_result(long result) { return told(result < 0 ? errno : 0); }

void expect(const char* what, const std::string& result, const OneOf& allowed) {
  EXPECT_THAT(allowed, testing::Contains(result)) << what << ": " << result;
}

std::string connect_told(const Network& network, const Fd& client, const Endpoint& to,
                         std::chrono::milliseconds within) {
  if (!client) return told(errno);
  const SocketAddress address = to_socket_address(to);
  if (::connect(client.get(), address.get(), address.size) != 0) {
    if (errno != EINPROGRESS) return told(errno);
    pollfd one{client.get(), POLLOUT, 0};
    if (::poll(&one, 1, static_cast<int>(within.count())) == 0) return "no answer";
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return told(error);
  }
  ::send(client.get(), marker, std::strlen(marker), MSG_NOSIGNAL);
  // The end of the handshake may still be on its way to the listener.
  std::array<pollfd, 3> listeners{pollfd{network[Role::tproxy4], POLLIN, 0},
                                  {network[Role::tproxy6], POLLIN, 0},
                                  {network[Role::dns_tcp], POLLIN, 0}};
  (void)::poll(listeners.data(), listeners.size(), static_cast<int>(patience.count()));
  for (const pollfd& listener : listeners) {
    const Fd session(::accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC));
    if (session) return "captured";
  }
  return "connected elsewhere";
}

std::string send_told(const Fd& client, const Endpoint& to, std::chrono::milliseconds within) {
  if (!client) return told(errno);
  const int on = 1;
  ::setsockopt(client.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
  const SocketAddress address = to_socket_address(to);
  if (::connect(client.get(), address.get(), address.size) != 0) return told(errno);
  if (::send(client.get(), marker, std::strlen(marker), MSG_NOSIGNAL) < 0) return told(errno);
  pollfd one{client.get(), POLLIN, 0};
  if (::poll(&one, 1, static_cast<int>(within.count())) == 0) return "no answer";
  char byte = 0;
  return told_result(::recv(client.get(), &byte, 1, 0));
}

Fd stream(int family, int protocol) {
  return Fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
}
Fd datagram(int family, int protocol) {
  return Fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
}
std::string socket_told(int family, int type, int protocol) {
  const Fd socket(::socket(family, type | SOCK_CLOEXEC, protocol));
  return socket ? "opened" : told(errno);
}

}  // namespace sluice::netns::test
