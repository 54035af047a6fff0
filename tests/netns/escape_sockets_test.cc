// What an agent with full capabilities in a user namespace of its own can send by sockets: nothing
// that a capture around its network would see.
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "captivity.h"

namespace sluice::netns::test {
namespace {

TEST(Escape, PacketRawAndKernelBypassSocketsAreRefused) {
  in_captivity([](Network&, pid_t) {
    for (const int type : {SOCK_RAW, SOCK_DGRAM}) {
      expect("AF_PACKET", socket_told(AF_PACKET, type, htons(ETH_P_ALL)), {"EPERM"});
    }
    expect("AF_XDP", socket_told(AF_XDP, SOCK_RAW, 0), {"EPERM", "EAFNOSUPPORT"});
    for (const int protocol : {IPPROTO_ICMP, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_GRE}) {
      expect("raw IPv4", socket_told(AF_INET, SOCK_RAW, protocol), {"EPERM"});
      expect("raw IPv6", socket_told(AF_INET6, SOCK_RAW, protocol), {"EPERM"});
    }
    expect("ping socket", socket_told(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), {"EACCES"});
    expect("ping socket IPv6", socket_told(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6), {"EACCES"});
  });
}

// A network namespace does not hold AF_VSOCK: the sandbox's system call filter must refuse it, and
// a container that is attached must have one.
TEST(Escape, VsockIsTheBusinessOfTheSystemCallFilter) {
  in_captivity([](Network&, pid_t) {
    expect("vsock", socket_told(AF_VSOCK, SOCK_STREAM, 0), {"opened", "EAFNOSUPPORT"});
  });
}

TEST(Escape, EveryDestinationIsCapturedOrRefused) {
  in_captivity([](Network& network, pid_t) {
    for (const char* address : {"203.0.113.1", "198.51.100.1", "0.0.0.1", "240.0.0.1",
                                "2001:db8::1", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"}) {
      const Endpoint to = endpoint(address, 443);
      const int family = to.address.is_v4() ? AF_INET : AF_INET6;
      expect(address, connect_told(network, stream(family), to), {"captured"});
      expect(address, send_told(datagram(family), to), {"ECONNREFUSED"});
    }
    for (const char* address : {"224.0.0.1", "239.255.255.250", "255.255.255.255", "198.51.100.255",
                                "ff02::1", "ff05::2", "fe80::1"}) {
      const Endpoint to = endpoint(address, 443);
      const int family = to.address.is_v4() ? AF_INET : AF_INET6;
      expect(address, connect_told(network, stream(family), to, a_moment),
             {"captured", "ENETUNREACH", "EINVAL", "EACCES", "EADDRNOTAVAIL", "no answer"});
      expect(address, send_told(datagram(family), to, a_moment),
             {"ECONNREFUSED", "no answer", "EINVAL", "ENETUNREACH", "EACCES", "EADDRNOTAVAIL"});
    }
    // A link-local address with its zone, on lo.
    const Fd zoned = stream(AF_INET6);
    const int lo = 1;
    ::setsockopt(zoned.get(), SOL_SOCKET, SO_BINDTOIFINDEX, &lo, sizeof(lo));
    expect("fe80::1%lo", connect_told(network, zoned, endpoint("fe80::1", 443)), {"captured"});
  });
}

TEST(Escape, ForeignSourceAddressesChangeNothing) {
  in_captivity([](Network& network, pid_t) {
    for (const auto& [level, option] :
         {std::pair(IPPROTO_IP, IP_FREEBIND), std::pair(IPPROTO_IP, IP_TRANSPARENT)}) {
      for (const char* source : {"198.51.100.1", "8.8.8.8", "224.0.0.1"}) {
        const Fd client = stream(AF_INET);
        const int on = 1;
        ::setsockopt(client.get(), level, option, &on, sizeof(on));
        const SocketAddress from = to_socket_address(endpoint(source, 0));
        if (::bind(client.get(), from.get(), from.size) != 0) continue;
        expect(source, connect_told(network, client, far4, a_moment),
               {"captured", "EINVAL", "ENETUNREACH", "no answer"});
      }
    }
    const int one = 1;
    const Fd transparent = stream(AF_INET);
    expect("IP_TRANSPARENT",
           told_result(::setsockopt(transparent.get(), IPPROTO_IP, IP_TRANSPARENT, &one, 4)),
           {"EPERM"});
    const Fd marked = stream(AF_INET);
    expect("SO_MARK", told_result(::setsockopt(marked.get(), SOL_SOCKET, SO_MARK, &one, 4)),
           {"EPERM"});
  });
}

TEST(Escape, NoInterfaceOtherThanLoopbackCanBeChosen) {
  in_captivity([](Network& network, pid_t) {
    const Fd lo = stream(AF_INET);
    ::setsockopt(lo.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    expect("SO_BINDTODEVICE lo", connect_told(network, lo, far4), {"captured"});
    const Fd out = stream(AF_INET);
    expect("SO_BINDTODEVICE out0",
           told_result(::setsockopt(out.get(), SOL_SOCKET, SO_BINDTODEVICE, "out0", 5)),
           {"ENODEV"});
    for (const int index : {1, 2, 3}) {
      const Fd client = datagram(AF_INET);
      const std::uint32_t wire = htonl(static_cast<std::uint32_t>(index));
      const std::string set =
          told_result(::setsockopt(client.get(), IPPROTO_IP, IP_UNICAST_IF, &wire, sizeof(wire)));
      expect("IP_UNICAST_IF", set, {"worked", "EADDRNOTAVAIL"});
      expect("IP_UNICAST_IF, sent", send_told(client, far4), {"ECONNREFUSED"});
    }
  });
}

TEST(Escape, SourceRoutesLeadNowhere) {
  in_captivity([](Network& network, pid_t) {
    for (const int kind : {IPOPT_LSRR, IPOPT_SSRR}) {
      const std::array<std::uint8_t, 8> route{
          IPOPT_NOP, static_cast<std::uint8_t>(kind), 7, 4, 198, 51, 100, 2};
      const Fd client = stream(AF_INET);
      ::setsockopt(client.get(), IPPROTO_IP, IP_OPTIONS, route.data(), route.size());
      expect("TCP", connect_told(network, client, far4, a_moment),
             {"captured", "no answer", "ECONNREFUSED"});
      const Fd sender = datagram(AF_INET);
      ::setsockopt(sender.get(), IPPROTO_IP, IP_OPTIONS, route.data(), route.size());
      expect("UDP", send_told(sender, far4, a_moment), {"ECONNREFUSED", "no answer"});
    }
  });
}

TEST(Escape, OtherTransportsAreCapturedOrGoNowhere) {
  in_captivity([](Network& network, pid_t) {
    constexpr int mptcp = 262;
    constexpr int l2tp = 115;
    expect("MPTCP", connect_told(network, stream(AF_INET, mptcp), far4),
           {"captured", "EPROTONOSUPPORT", "ENOPROTOOPT"});
    const OneOf nowhere{"EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EPERM",        "EACCES",
                        "ECONNREFUSED",    "ENOPROTOOPT",     "EHOSTUNREACH", "EAFNOSUPPORT",
                        "no answer",       "EDESTADDRREQ"};
    expect("SCTP", connect_told(network, stream(AF_INET, IPPROTO_SCTP), far4, a_moment), nowhere);
    expect("SCTP one to many", socket_told(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP),
           {"EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "opened"});
    const Fd dccp(::socket(AF_INET, SOCK_DCCP | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_DCCP));
    expect("DCCP", connect_told(network, dccp, far4, a_moment), nowhere);
    expect("UDP-Lite", send_told(datagram(AF_INET, IPPROTO_UDPLITE), far4, a_moment), nowhere);
    expect("L2TP", send_told(datagram(AF_INET, l2tp), far4, a_moment), nowhere);
    const Fd early = stream(AF_INET);
    const SocketAddress to = to_socket_address(far4);
    ::sendto(early.get(), marker, std::strlen(marker), MSG_FASTOPEN | MSG_NOSIGNAL, to.get(),
             to.size);
    EXPECT_TRUE(accept_one(network[Role::tproxy4])) << "fast open";
  });
}

TEST(Escape, ListenersCannotBeSharedShadowedOrRobbed) {
  in_captivity([](Network& network, pid_t) {
    const int on = 1;
    for (const auto& [address, port] :
         {std::pair("127.127.127.127", 15001), std::pair("0.0.0.0", 15001), std::pair("::1", 15001),
          std::pair("127.0.0.1", 3128), std::pair("0.0.0.0", 53), std::pair("8.8.8.8", 53)}) {
      const SocketAddress at =
          to_socket_address(endpoint(address, static_cast<std::uint16_t>(port)));
      const Fd socket = stream(at.storage.ss_family);
      ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
      ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
      const bool bound = ::bind(socket.get(), at.get(), at.size) == 0;
      expect(address, bound ? told_result(::listen(socket.get(), 8)) : told(errno), {"EADDRINUSE"});
    }
    const Fd everywhere = listen_on(endpoint("0.0.0.0", 443));
    const Fd exact = listen_on(endpoint("203.0.113.1", 444));
    expect("beside a server of its own", connect_told(network, stream(AF_INET), far4),
           {"captured"});
    expect("at its exact address",
           connect_told(network, stream(AF_INET), endpoint("203.0.113.1", 444)), {"captured"});
    EXPECT_TRUE(is_empty(everywhere.get()));
    EXPECT_TRUE(is_empty(exact.get()));
  });
}

}  // namespace
}  // namespace sluice::netns::test
