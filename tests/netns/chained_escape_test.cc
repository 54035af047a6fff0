#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <optional>

#include "base/io.h"
#include "netns/containers/chained.h"
#include "netns/containers/chained_rules.h"
#include "pod.h"

namespace sluice::netns::test {
namespace {

// ---------------------------------------------------------------

struct Options {
  bool device = false;
  bool mark = false;
  bool transparent = false;
};

// One TCP or UDP socket with options that CAP_NET_RAW or nothing allows. Answers an errno.
int try_socket(int type, const Endpoint& to, const Options& options) {
  const SocketAddress address = to_socket_address(to);
  const int family = address.storage.ss_family;
  const Fd socket(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const std::uint32_t mark = answer_mark;
  if (options.device) ::setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5);
  if (options.mark) {
    EXPECT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
  }
  if (options.transparent) {
    const int level = family == AF_INET ? SOL_IP : SOL_IPV6;
    const int name = family == AF_INET ? IP_TRANSPARENT : IPV6_TRANSPARENT;
    EXPECT_EQ(::setsockopt(socket.get(), level, name, &on, sizeof(on)), 0);
  }
  ::setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
  if (::connect(socket.get(), address.get(), address.size) != 0 && errno != EINPROGRESS)
    return errno;
  if (type == SOCK_DGRAM && ::send(socket.get(), "escape", 6, 0) < 0) return errno;
  return 0;
}

void try_sockets() {
  for (const char* const to : {far4, node4, "255.255.255.255", "10.9.0.255", "224.0.0.1", far6,
                               node6, "ff02::1", "ff05::1"}) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      for (unsigned bits = 0; bits < 8; ++bits) {
        (void)try_socket(type, endpoint(to, 443),
                         {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0});
      }
    }
  }
  sockaddr_in6 link{};
  link.sin6_family = AF_INET6;
  link.sin6_port = htons(443);
  link.sin6_addr.s6_addr[0] = 0xfe;
  link.sin6_addr.s6_addr[1] = 0x80;
  link.sin6_addr.s6_addr[15] = 1;
  link.sin6_scope_id = ::if_nametoindex("eth0");
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const Fd socket(::socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ::connect(socket.get(), reinterpret_cast<sockaddr*>(&link), sizeof(link));
    ::send(socket.get(), "escape", 6, MSG_NOSIGNAL);
  }
}

std::string echo_request(bool v4) {
  return (v4 ? std::string("\x08\0\0\0", 4) : std::string("\x80\0\0\0", 4)) + "escape";
}
// A neighbour solicitation, which a router would carry to another network.
std::string solicitation() { return std::string("\x87\0\0\0\0\0\0\0", 8) + std::string(16, 'x'); }

std::vector<Datagram> datagrams() {
  std::vector<Datagram> all;
  for (const auto& [from, to] :
       {std::pair(pod4, far4), std::pair(pod4, node4), std::pair(far4, node4),
        std::pair(pod6, far6), std::pair(pod6, node6), std::pair(far6, node6)}) {
    const bool v4 = std::string_view(from).find(':') == std::string_view::npos;
    const std::uint8_t icmp = v4 ? 1 : 58;  // IPPROTO_ICMP, IPPROTO_ICMPV6
    all.push_back({from, to, 5555, 9, IPPROTO_UDP, "escape"});
    all.push_back({from, to, 8080, 9, IPPROTO_TCP, tcp_rest(0x02)});
    all.push_back({from, to, 8080, 9, IPPROTO_TCP, tcp_rest(0x12)});
    all.push_back({from, to, 8080, 9, IPPROTO_TCP, tcp_rest(0x18)});
    all.push_back({from, to, 0, 0, icmp, echo_request(v4)});
    all.push_back(
        {from, to, 0, 0, icmp, std::string(v4 ? "\x03\x03" : "\x01\x04") + std::string(30, '\0')});
    all.push_back({from, to, 5555, 9, 132, "escape"});
    if (!v4) all.push_back({from, to, 0, 0, icmp, solicitation()});
  }
  return all;
}

void try_raw_sockets() {
  for (const Datagram& datagram : datagrams()) {
    for (const std::uint32_t mark : {0U, answer_mark}) {
      (void)send_by_raw_socket(packet_of(datagram), mark);
    }
  }
}

std::string arp_request() {
  const std::string mac("\2\0\0\0\0\5", 6);
  const std::string own("\x0a\x09\0\5", 4);
  return std::string(6, '\xff') + mac + std::string("\x08\6\0\1\x08\0\6\4\0\1", 10) + mac + own +
         std::string(6, '\0') + std::string("\x0a\x09\0\1", 4);
}

void try_packet_sockets() {
  for (const Datagram& datagram : datagrams()) {
    for (const bool bypass : {false, true}) {
      for (const std::uint32_t mark : {0U, answer_mark}) {
        (void)send_by_packet_socket(frame_of(datagram), bypass, mark);
      }
    }
  }
  std::string strange = frame_of(datagrams().front());
  for (const std::string_view type : {"\x88\x63", "\x88\x64", "\x81\x00", "\x88\x47", "\x88\xb5"}) {
    strange.replace(12, 2, std::string(type.data(), 2));
    (void)send_by_packet_socket(strange, false);
  }
  // Behind what is good ARP there is room for a message.
  (void)send_by_packet_socket(arp_request() + "escape", false);
  (void)send_by_packet_socket(arp_request() + std::string(1000, 'x') + "escape", false);
}

TEST(ChainedPod, PutsNothingOnTheWireThatItStartedItself) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    Tap tap;
    pod.as_pod([] {
      try_sockets();
      try_raw_sockets();
      try_packet_sockets();
    });
    for (const std::string& frame : tap.frames()) {
      EXPECT_TRUE(is_link_control(frame)) << describe(frame);
      EXPECT_TRUE(frame.size() <= 60 || frame.find("escape") == std::string::npos)
          << describe(frame);
    }
    while_serving(pod, {"0.0.0.0", 8080, SOCK_STREAM}, [&] { ask_tcp(endpoint(pod4, 8080)); });
    EXPECT_FALSE(tap.frames().empty()) << "an answer is seen";
  });
}

// Root in a container whose /proc/sys can be written owns the namespace's settings, without
// CAP_NET_ADMIN.
TEST(ChainedPod, PutsNothingOnTheWireWhateverItWritesIntoItsSettings) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    Tap tap;
    pod.as_pod([] {
      for (const char* const key :
           {"ipv4/ip_forward", "ipv4/conf/all/forwarding", "ipv4/conf/eth0/proxy_arp",
            "ipv4/conf/all/accept_local", "ipv4/conf/lo/route_localnet", "ipv4/fwmark_reflect",
            "ipv4/conf/eth0/route_localnet", "ipv4/conf/eth0/src_valid_mark",
            "ipv4/ip_nonlocal_bind", "ipv4/ip_early_demux", "ipv6/conf/all/forwarding",
            "ipv6/conf/eth0/proxy_ndp", "ipv6/fwmark_reflect", "ipv6/conf/eth0/accept_source_route",
            "ipv4/conf/all/accept_source_route", "netfilter/nf_conntrack_tcp_be_liberal",
            "ipv4/conf/eth0/arp_accept", "ipv4/conf/all/accept_redirects"}) {
        (void)write_file(std::string("/proc/sys/net/") + key, "1");
      }
      (void)write_file("/proc/sys/net/ipv4/tcp_fwmark_accept", "0");
      (void)write_file("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
      try_sockets();
      try_raw_sockets();
      try_packet_sockets();
    });
    for (const std::string& frame : tap.frames()) {
      EXPECT_TRUE(is_link_control(frame)) << describe(frame);
    }
  });
}

TEST(ChainedPod, PutsTheSameOnTheWireWithoutTheRules) {
  in_fresh_namespace([] {
    const Pod pod;
    Tap tap;
    pod.as_pod([] { try_raw_sockets(); });
    std::size_t escaped = 0;
    for (const std::string& frame : tap.frames()) escaped += is_link_control(frame) ? 0 : 1;
    EXPECT_GT(escaped, 20U);
  });
}

TEST(ChainedPod, IsRefusedAtOnceOnItsInterface) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    pod.as_pod([] {
      for (const char* const to : {far4, far6}) {
        const SocketAddress address = to_socket_address(endpoint(to, 443));
        const Fd tcp(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::setsockopt(tcp.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
        EXPECT_EQ(::connect(tcp.get(), address.get(), address.size), -1);
        EXPECT_TRUE(errno == ECONNREFUSED || errno == EACCES) << to << strerrordesc_np(errno);
        const Fd udp(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::setsockopt(udp.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), 0);
        ASSERT_EQ(::connect(udp.get(), address.get(), address.size), 0);
        EXPECT_EQ(::send(udp.get(), "x", 1, 0), -1) << to;
      }
    });
  });
}

// What a pod could say to one who called it, besides answers.
void expect_answers_only(const std::function<void(const std::vector<std::string>&)>& send) {
  in_fresh_namespace([&] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    while_serving(pod, {"0.0.0.0", 8080, SOCK_STREAM}, [&] {
      while_serving(pod, {"0.0.0.0", 8080, SOCK_DGRAM}, [&] {
        const Fd trap = listen_on(endpoint(node4, 9));
        const Fd asked = send_udp(endpoint(pod4, 8080), "question");
        EXPECT_EQ(receive(asked.get()).bytes, "hello");
        const std::uint16_t called_from = local_endpoint(asked.get()).value_or(Endpoint{}).port;
        EXPECT_EQ(ask_tcp(endpoint(pod4, 8080)), "hello");
        const Fd other(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const SocketAddress at = to_socket_address(endpoint(node4, 9));
        ASSERT_EQ(::bind(other.get(), at.get(), at.size), 0);
        std::vector<std::string> frames;
        for (const Datagram& one : {Datagram{pod4, node4, 8080, 9, IPPROTO_UDP, "escape"},
                                    {pod4, node4, 8081, called_from, IPPROTO_UDP, "escape"},
                                    {far4, node4, 8080, called_from, IPPROTO_UDP, "escape"},
                                    {pod4, node4, 8080, 9, IPPROTO_TCP, tcp_rest(0x02)},
                                    {pod4, node4, 8081, 9, IPPROTO_TCP, tcp_rest(0x02)},
                                    {pod4, node4, 8080, called_from, IPPROTO_UDP, "answer"}}) {
          frames.push_back(frame_of(one));
        }
        pod.as_pod([&] { send(frames); });
        // The last is one: where it is, the others would be.
        EXPECT_EQ(receive(asked.get()).bytes, "answer");
        pollfd one{other.get(), POLLIN, 0};
        EXPECT_EQ(::poll(&one, 1, 0), 0) << "a datagram that is no answer";
        EXPECT_TRUE(is_empty(trap.get())) << "a connection of the pod's";
        EXPECT_EQ(::poll(&one, 1, 0), 0);
      });
    });
  });
}

TEST(ChainedPod, MayTellNothingButAnswersToWhoeverCalledItByAPacketSocket) {
  expect_answers_only([](const std::vector<std::string>& frames) {
    for (const std::string& frame : frames) {
      const int error = send_by_packet_socket(frame, false);
      EXPECT_TRUE(error == 0 || error == ENOBUFS) << strerrordesc_np(error);
    }
  });
}

bool has_xdp_sockets() {
  const Fd probe(::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  return probe || errno != EAFNOSUPPORT;
}

TEST(ChainedPod, MayTellNothingButAnswersToWhoeverCalledItByAnXdpSocket) {
  if (!has_xdp_sockets()) GTEST_SKIP() << "the kernel has no AF_XDP";
  expect_answers_only(
      [](const std::vector<std::string>& frames) { EXPECT_EQ(send_by_xdp_socket(frames), 0); });
}

TEST(ChainedPod, ReachesTheNodeByAnXdpSocketWhereRawSocketsAreAllowed) {
  if (!has_xdp_sockets()) GTEST_SKIP() << "the kernel has no AF_XDP";
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build(AllowRawSockets::yes);
    const Fd trap(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const SocketAddress at = to_socket_address(endpoint(node4, 9));
    ASSERT_EQ(::bind(trap.get(), at.get(), at.size), 0);
    pod.as_pod([] {
      const Datagram one{pod4, node4, 8080, 9, IPPROTO_UDP, "escape"};
      EXPECT_EQ(send_by_xdp_socket({frame_of(one)}), 0);
    });
    EXPECT_EQ(receive(trap.get()).bytes, "escape");
  });
}

TEST(ChainedPod, CannotPretendOnLoopbackThatSomebodyOutsideHasCalled) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    Tap tap;
    while_serving(pod, {"0.0.0.0", 8080, SOCK_DGRAM}, [&] {
      pod.as_pod([&] {
        // From the far address to the pod's own server, over lo: conntrack now knows the answer.
        EXPECT_EQ(send_by_raw_socket(packet_of({far4, pod4, 443, 8080, IPPROTO_UDP, "forged"})), 0);
        const Fd bound(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const int on = 1;
        ::setsockopt(bound.get(), SOL_IP, IP_TRANSPARENT, &on, sizeof(on));
        const SocketAddress from = to_socket_address(endpoint(far4, 444));
        const SocketAddress to = to_socket_address(endpoint(pod4, 8080));
        ASSERT_EQ(::bind(bound.get(), from.get(), from.size), 0);
        EXPECT_EQ(::sendto(bound.get(), "forged", 6, 0, to.get(), to.size), 6);
        for (const std::uint16_t port : {std::uint16_t{443}, std::uint16_t{444}}) {
          for (const std::uint32_t mark : {0U, answer_mark}) {
            const Datagram answer{pod4, far4, 8080, port, IPPROTO_UDP, "escape"};
            (void)send_by_raw_socket(packet_of(answer), mark);
            (void)send_by_packet_socket(frame_of(answer), false, mark);
          }
        }
      });
    });
    for (const std::string& frame : tap.frames())
      EXPECT_TRUE(is_link_control(frame)) << describe(frame);
  });
}

TEST(ChainedPod, MayNotChangeItsRules) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    pod.as_pod([] {
      EXPECT_FALSE(load_rules("flush ruleset\n", "x"));
      EXPECT_EQ(add_link_errno("veth", "d0"), EPERM);
    });
    EXPECT_TRUE(check_chained_network(pod.fd(), network.facts));
  });
}

}  // namespace
}  // namespace sluice::netns::test
