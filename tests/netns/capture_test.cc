#include "netns/capture.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "support.h"

namespace sluice::netns::test {
namespace {

Role tproxy_for(const Endpoint& to) { return to.address.is_v4() ? Role::tproxy4 : Role::tproxy6; }

void expect_captured(const Network& network, const Endpoint& to) {
  const Attempt client = connect_tcp(to);
  ASSERT_EQ(client.error, 0) << to_string(to) << " " << strerrordesc_np(client.error);
  const Fd session = accept_one(network[tproxy_for(to)]);
  ASSERT_TRUE(session) << to_string(to);
  EXPECT_EQ(local_endpoint(session.get()).value_or(Endpoint{}), to);
  ASSERT_EQ(::send(client.socket.get(), "ask", 3, 0), 3);
  EXPECT_EQ(receive(session.get()).bytes, "ask") << to_string(to);
  ASSERT_EQ(::send(session.get(), "answer", 6, 0), 6);
  EXPECT_EQ(receive(client.socket.get()).bytes, "answer") << to_string(to);
}

TEST(Capture, BringsAConnectionToAnyAddressAndPortToTheListenerWithItsDestination) {
  in_agent_network([](Network& network) {
    for (const std::uint16_t port :
         std::initializer_list<std::uint16_t>{1, 22, 80, 443, 3128, 5432, 15001, 40000, 65535}) {
      for (const char* address :
           {"203.0.113.1", "8.8.8.8", "10.0.0.1", "192.168.1.1", "172.17.0.1", "169.254.169.254",
            "100.100.100.200", "198.18.0.1", "126.255.255.255", "128.0.0.1", "0.0.0.1", "240.0.0.1",
            "2001:db8::1", "fd73:6c75:6963::1", "fd00:ec2::254", "64:ff9b::7f00:1",
            "2002:7f00:1::", "::2", "fec0::1"}) {
        expect_captured(network, endpoint(address, port));
      }
    }
  });
}

// With source and destination equal, a connect into the ephemeral range could meet itself.
TEST(Capture, SeesTheAgentAsLoopbackAndNeverAsItsDestination) {
  in_agent_network([](Network& network) {
    for (const auto& [to, source] : {std::pair(endpoint("203.0.113.1", 40000), "127.0.0.1"),
                                     std::pair(endpoint("2001:db8::1", 40000), "::1")}) {
      const Attempt client = connect_tcp(to);
      ASSERT_EQ(client.error, 0);
      const Fd session = accept_one(network[tproxy_for(to)]);
      EXPECT_EQ(peer_endpoint(session.get()).value_or(to).address.to_string(), source);
      const Fd datagram = send_udp(to, "hello");
      EXPECT_EQ(local_endpoint(datagram.get()).value_or(to).address.to_string(), source);
    }
  });
}

TEST(Capture, SeesIpv4DestinationsOfIpv6Sockets) {
  in_agent_network([](Network& network) {
    const Attempt client = connect_tcp(endpoint("::ffff:203.0.113.1", 443));
    ASSERT_EQ(client.error, 0);
    const Fd session = accept_one(network[Role::tproxy4]);
    EXPECT_EQ(to_string(local_endpoint(session.get()).value_or(Endpoint{})), "203.0.113.1:443");
  });
}

TEST(Capture, HoldsNoPartOfAnAnswerBackForADelayedAck) {
  in_agent_network([](Network& network) {
    for (const Endpoint& at : {endpoint("203.0.113.1", 80), endpoint("2001:db8::1", 80),
                               endpoint("127.0.0.1", 3128), endpoint("203.0.113.1", 53)}) {
      const Attempt client = connect_tcp(at);
      ASSERT_EQ(client.error, 0) << to_string(at);
      const Role role = at.port == 3128 ? Role::proxy
                        : at.port == 53 ? Role::dns_tcp
                                        : tproxy_for(at);
      const Fd session = accept_one(network[role]);
      ASSERT_TRUE(session) << to_string(at);
      int set = 0;
      socklen_t size = sizeof(set);
      ASSERT_EQ(::getsockopt(session.get(), IPPROTO_TCP, TCP_NODELAY, &set, &size), 0);
      EXPECT_NE(set, 0) << to_string(at);
    }
  });
}

TEST(Capture, SeesMultipathTcpAsPlainTcp) {
  in_agent_network([](Network& network) {
    constexpr int mptcp = 262;  // IPPROTO_MPTCP
    const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, mptcp));
    if (!client) return;  // this kernel does not know it
    const SocketAddress to = to_socket_address(endpoint("203.0.113.1", 443));
    ASSERT_EQ(::connect(client.get(), to.get(), to.size), 0) << strerrordesc_np(errno);
    const Fd session = accept_one(network[Role::tproxy4]);
    EXPECT_EQ(to_string(local_endpoint(session.get()).value_or(Endpoint{})), "203.0.113.1:443");
  });
}

TEST(Capture, SeesTheFirstPacketsOfFastOpen) {
  in_agent_network([](Network& network) {
    const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress to = to_socket_address(endpoint("203.0.113.1", 443));
    ASSERT_EQ(::sendto(client.get(), "early", 5, MSG_FASTOPEN | MSG_NOSIGNAL, to.get(), to.size), 5)
        << strerrordesc_np(errno);
    const Fd session = accept_one(network[Role::tproxy4]);
    ASSERT_TRUE(session);
    EXPECT_EQ(receive(session.get()).bytes, "early");
  });
}

TEST(Capture, SeesClientsThatBoundASourceAddress) {
  in_agent_network([](Network& network) {
    for (const auto& [source, destination] :
         {std::pair(endpoint("198.51.100.7", 0), endpoint("203.0.113.1", 443)),
          std::pair(endpoint("127.0.0.9", 0), endpoint("203.0.113.1", 443)),
          std::pair(endpoint("::1", 0), endpoint("2001:db8::1", 443))}) {
      const Attempt client = connect_tcp(destination, source);
      ASSERT_EQ(client.error, 0) << to_string(source);
      const Fd session = accept_one(network[tproxy_for(destination)]);
      ASSERT_TRUE(session) << to_string(source);
      EXPECT_EQ(local_endpoint(session.get()).value_or(Endpoint{}), destination);
      ASSERT_EQ(::send(session.get(), "answer", 6, 0), 6);
      EXPECT_EQ(receive(client.socket.get()).bytes, "answer");
    }
  });
}

TEST(Capture, SeesLinkLocalDestinations) {
  in_agent_network([](Network& network) {
    const Fd client(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(443);
    to.sin6_scope_id = 1;
    to.sin6_addr.s6_addr[0] = 0xfe;
    to.sin6_addr.s6_addr[1] = 0x80;
    to.sin6_addr.s6_addr[15] = 1;
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0)
        << strerrordesc_np(errno);
    const Fd session = accept_one(network[Role::tproxy6]);
    EXPECT_EQ(to_string(local_endpoint(session.get()).value_or(Endpoint{})), "[fe80::1]:443");
  });
}

TEST(Capture, LeavesTheAgentsOwnLocalhostServersAlone) {
  in_agent_network([](Network& network) {
    for (const Endpoint& at :
         {endpoint("127.0.0.1", 8080), endpoint("127.1.2.3", 80), endpoint("::1", 8080)}) {
      const Fd server = listen_on(at);
      const Attempt client = connect_tcp(at);
      ASSERT_EQ(client.error, 0) << to_string(at);
      const Fd session = accept_one(server.get());
      ASSERT_TRUE(session) << to_string(at);
      EXPECT_TRUE(is_empty(network[tproxy_for(at)]));
    }
    EXPECT_EQ(connect_tcp(endpoint("127.0.0.1", 8081)).error, ECONNREFUSED);
    EXPECT_EQ(connect_tcp(endpoint("::1", 8081)).error, ECONNREFUSED);
  });
}

TEST(Capture, PrefersTheProxyToAServerOfTheAgentOnTheSamePort) {
  in_agent_network([](Network& network) {
    const Fd everywhere = listen_on(endpoint("0.0.0.0", 443));
    const Fd exact = listen_on(endpoint("203.0.113.1", 444));
    expect_captured(network, endpoint("203.0.113.1", 443));
    expect_captured(network, endpoint("203.0.113.1", 444));
    EXPECT_TRUE(is_empty(everywhere.get()));
    EXPECT_TRUE(is_empty(exact.get()));
  });
}

TEST(Capture, ShowsAConnectionToTheListenerItselfByItsOwnAddress) {
  in_agent_network([](Network& network) {
    for (const Role role : {Role::tproxy4, Role::tproxy6, Role::proxy}) {
      const Attempt client = connect_tcp(role_endpoint(role));
      ASSERT_EQ(client.error, 0);
      const Fd session = accept_one(network[role]);
      EXPECT_EQ(local_endpoint(session.get()).value_or(Endpoint{}), role_endpoint(role));
    }
  });
}

TEST(Capture, NeverLetsAConnectMeetItself) {
  in_agent_network([](Network& network) {
    const Endpoint self = endpoint("203.0.113.1", 40000);
    const Attempt met = connect_tcp(self, self);
    EXPECT_EQ(met.error, ECONNREFUSED) << strerrordesc_np(met.error);
    EXPECT_TRUE(is_empty(network[Role::tproxy4]));
  });
}

TEST(Capture, IsClosedWhenEveryListenerIsGone) {
  in_agent_network([](Network& network) {
    const Fd everywhere = listen_on(endpoint("0.0.0.0", 443));
    const Fd everywhere6 = listen_on(endpoint("::", 444));
    network.close_all();
    for (const Endpoint& to :
         {endpoint("203.0.113.1", 443), endpoint("203.0.113.1", 80), endpoint("2001:db8::1", 444),
          endpoint("203.0.113.1", 53), endpoint("2001:db8::1", 53), endpoint("127.0.0.1", 3128)}) {
      const Attempt refused = connect_tcp(to);
      EXPECT_EQ(refused.error, ECONNREFUSED) << to_string(to) << strerrordesc_np(refused.error);
    }
    const Fd question = send_udp(endpoint("203.0.113.53", 53), "?");
    EXPECT_EQ(receive(question.get()).error, ECONNREFUSED);
    EXPECT_TRUE(is_empty(everywhere.get()));
    EXPECT_TRUE(is_empty(everywhere6.get()));
  });
}

TEST(Capture, RefusesOtherUdpAtOnceSoThatQuicFallsBackToTcp) {
  in_agent_network([](Network&) {
    for (const char* address :
         {"203.0.113.1", "169.254.169.254", "127.0.0.1", "2001:db8::1", "::1"}) {
      for (const std::uint16_t port :
           std::initializer_list<std::uint16_t>{1, 54, 123, 443, 853, 4433, 65535}) {
        const Fd socket = send_udp(endpoint(address, port), "hello");
        EXPECT_EQ(receive(socket.get()).error, ECONNREFUSED) << address << " port " << port;
      }
    }
  });
}

TEST(Capture, RefusesTheThousandthDatagramLikeTheFirst) {
  in_agent_network([](Network&) {
    for (int i = 0; i < 1000; ++i) {
      const Fd socket =
          send_udp(endpoint(i % 2 == 0 ? "203.0.113.1" : "2001:db8::1", 443), "hello");
      ASSERT_EQ(receive(socket.get()).error, ECONNREFUSED) << "datagram " << i;
    }
  });
}

// The sandbox refuses these socket types; here it is shown that they would go nowhere.
TEST(Capture, LeavesUdpLiteSctpAndDccpNoWayOut) {
  in_agent_network([](Network&) {
    constexpr std::array<std::pair<int, int>, 4> kinds{{{SOCK_DGRAM, IPPROTO_UDPLITE},
                                                        {SOCK_STREAM, IPPROTO_SCTP},
                                                        {SOCK_SEQPACKET, IPPROTO_SCTP},
                                                        {SOCK_DCCP, IPPROTO_DCCP}}};
    const SocketAddress to = to_socket_address(endpoint("203.0.113.1", 443));
    for (const auto& [type, protocol] : kinds) {
      const Fd socket(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
      if (!socket) continue;  // this kernel does not know it: no way out either
      if (::connect(socket.get(), to.get(), to.size) != 0 && errno != EINPROGRESS) continue;
      ::send(socket.get(), "hello", 5, MSG_NOSIGNAL);
      EXPECT_NE(receive(socket.get()).error, 0) << "protocol " << protocol;
    }
  });
}

TEST(Capture, GivesMulticastAndBroadcastNowhereToGo) {
  in_agent_network([](Network& network) {
    EXPECT_NE(connect_tcp(endpoint("224.0.0.1", 443)).error, 0);
    EXPECT_NE(connect_tcp(endpoint("255.255.255.255", 443)).error, 0);
    EXPECT_NE(connect_tcp(endpoint("ff02::1", 443)).error, 0);
    const SocketAddress group = to_socket_address(endpoint("224.0.0.251", 5353));
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ::sendto(socket.get(), "hello", 5, 0, group.get(), group.size);
    EXPECT_TRUE(is_empty(network[Role::dns_udp]));
  });
}

// A ping by hand: what the raw socket hears is the refusal, and no echo.
TEST(Capture, RefusesPingInsteadOfAnsweringForTheWorld) {
  in_agent_network([](Network&) {
    const Fd raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
    ASSERT_TRUE(raw) << strerrordesc_np(errno);
    icmphdr echo{};
    echo.type = ICMP_ECHO;
    echo.checksum = htons(0xf7ff);
    const SocketAddress to = to_socket_address(endpoint("203.0.113.1", 0));
    ASSERT_EQ(::sendto(raw.get(), &echo, sizeof(echo), 0, to.get(), to.size), 8);
    const Received heard = receive(raw.get());
    ASSERT_GE(heard.bytes.size(), sizeof(iphdr) + sizeof(icmphdr)) << strerrordesc_np(heard.error);
    icmphdr answer{};
    std::memcpy(&answer, heard.bytes.data() + sizeof(iphdr), sizeof(answer));
    EXPECT_EQ(answer.type, ICMP_DEST_UNREACH);
    EXPECT_EQ(answer.code, ICMP_PKT_FILTERED);
  });
}

TEST(Capture, RefusesPingOverIpv6Too) {
  in_agent_network([](Network&) {
    const Fd raw(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6));
    ASSERT_TRUE(raw) << strerrordesc_np(errno);
    icmp6_hdr echo{};
    echo.icmp6_type = ICMP6_ECHO_REQUEST;  // the kernel fills in the checksum (RFC 3542 3.1)
    const SocketAddress to = to_socket_address(endpoint("2001:db8::1", 0));
    ASSERT_EQ(::sendto(raw.get(), &echo, sizeof(echo), 0, to.get(), to.size), 8);
    const Received heard = receive(raw.get());
    ASSERT_GE(heard.bytes.size(), sizeof(icmp6_hdr)) << strerrordesc_np(heard.error);
    icmp6_hdr answer{};
    std::memcpy(&answer, heard.bytes.data(), sizeof(answer));
    EXPECT_EQ(answer.icmp6_type, ICMP6_DST_UNREACH);
    EXPECT_EQ(answer.icmp6_code, ICMP6_DST_UNREACH_ADMIN);
  });
}

}  // namespace
}  // namespace sluice::netns::test
