// Networks on kernels that lack nf_tables or IPv6: what is left works, the rest is refused.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "netns/capture.h"
#include "netns/network.h"
#include "netns/proxy_link.h"
#include "netns/refused_udp.h"
#include "netns/remake.h"
#include "support.h"

namespace sluice::netns::test {
namespace {

using Roles = std::vector<Role>;

Roles roles_of(const std::vector<RoleSocket>& sockets) {
  Roles roles;
  for (const RoleSocket& socket : sockets) roles.push_back(socket.role);
  return roles;
}

void expect_verified(const std::vector<RoleSocket>& sockets) {
  std::set<std::uint64_t> cookies;
  for (const RoleSocket& socket : sockets) {
    const auto cookie = verify_socket(socket.role, socket.fd.get());
    ASSERT_TRUE(cookie) << to_string(cookie.error());
    cookies.insert(*cookie);
  }
  EXPECT_EQ(cookies.size(), 1U);
}

// What sluiced is told that a connection's destination is; IPv4 may be spelt as IPv4-mapped IPv6.
std::string destination(const Fd& session) {
  return to_string(local_endpoint(session.get()).value_or(Endpoint{}));
}

void expect_connected(int listener, const Endpoint& to, const std::string& seen) {
  const Attempt client = connect_tcp(to);
  ASSERT_EQ(client.error, 0) << to_string(to) << " " << strerrordesc_np(client.error);
  const Fd session = accept_one(listener);
  ASSERT_TRUE(session) << to_string(to);
  EXPECT_EQ(destination(session), seen);
}

void expect_refused(const Endpoint& to) {
  EXPECT_EQ(connect_tcp(to).error, ECONNREFUSED) << to_string(to);
  const Fd datagram = send_udp(to, "hello");
  EXPECT_EQ(receive(datagram.get()).error, ECONNREFUSED) << to_string(to);
}

TEST(WithoutNfTables, ANetworkHasDnsAndTheProxyAndSaysThatItIsNotCaptured) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto possible = has_nf_tables();
    ASSERT_TRUE(possible) << to_string(possible.error());
    EXPECT_FALSE(*possible);
    const auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    EXPECT_EQ(roles_of(*built), (Roles{Role::dns_udp, Role::dns_tcp, Role::proxy}));
    EXPECT_FALSE(is_captured(*built));
    expect_verified(*built);
  });
}

TEST(WithoutNfTables, RulesThatAreAskedForNameTheKernelOptions) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto refused = load_capture_rules();
    ASSERT_FALSE(refused);
    EXPECT_EQ(
        to_string(refused.error()),
        "error: the kernel has no nf_tables\n"
        "hint: the kernel needs CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY, "
        "CONFIG_NFT_OBJREF and CONFIG_NFT_REJECT_INET (5.9 or newer); as modules: modprobe -a "
        "nf_tables nft_tproxy nft_objref nft_reject_inet");
  });
}

TEST(WithoutNfTables, APortOfThePolicyReachesItsListenerAtEveryAddressWithItsDestination) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    const auto ports = open_port_listeners({80, 443});
    ASSERT_TRUE(ports) << to_string(ports.error());
    ASSERT_EQ(ports->size(), 2U);
    expect_verified(*ports);
    const int https = (*ports)[1].fd.get();
    expect_connected(https, endpoint("203.0.113.1", 443), "[::ffff:203.0.113.1]:443");
    expect_connected(https, endpoint("169.254.169.254", 443), "[::ffff:169.254.169.254]:443");
    expect_connected(https, endpoint("2001:db8::1", 443), "[2001:db8::1]:443");
    expect_connected(https, endpoint("fd73:6c75:6963::7", 443), "[fd73:6c75:6963::7]:443");
    EXPECT_TRUE(is_empty((*ports)[0].fd.get()));
  });
}

TEST(WithoutNfTables, EveryOtherPortAndDatagramIsRefusedByTheKernelItself) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    const auto ports = open_port_listeners({443});
    ASSERT_TRUE(ports);
    for (const char* address : {"203.0.113.1", "10.0.0.1", "169.254.169.254", "2001:db8::1"}) {
      for (const std::uint16_t port :
           std::initializer_list<std::uint16_t>{1, 22, 80, 444, 15001, 65535}) {
        expect_refused(endpoint(address, port));
      }
    }
    const Fd quic = send_udp(endpoint("203.0.113.1", 443), "hello");
    EXPECT_EQ(receive(quic.get()).error, ECONNREFUSED);
  });
}

// Nothing can refuse it without rules; it goes no further than the agent's own kernel.
TEST(WithoutNfTables, PingIsAnsweredByTheAgentsOwnKernel) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    const Fd raw(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP));
    ASSERT_TRUE(raw) << strerrordesc_np(errno);
    icmphdr echo{};
    echo.type = ICMP_ECHO;
    echo.checksum = htons(0xf7ff);
    const SocketAddress to = to_socket_address(endpoint("203.0.113.1", 0));
    ASSERT_EQ(::sendto(raw.get(), &echo, sizeof(echo), 0, to.get(), to.size), 8);
    std::set<int> heard;
    for (int i = 0; i < 2; ++i) {
      const Received packet = receive(raw.get());
      ASSERT_GE(packet.bytes.size(), sizeof(iphdr) + sizeof(icmphdr));
      heard.insert(packet.bytes[sizeof(iphdr)]);
    }
    EXPECT_EQ(heard, (std::set<int>{ICMP_ECHO, ICMP_ECHOREPLY}));
  });
}

TEST(WithoutNfTables, PortsThatOtherListenersHaveArePassedOver) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto built = build_agent_network();
    ASSERT_TRUE(built);
    const auto ports = open_port_listeners({22, 53, 3128});
    ASSERT_TRUE(ports) << to_string(ports.error());
    ASSERT_EQ(ports->size(), 1U);
    EXPECT_EQ(local_endpoint((*ports)[0].fd.get())->port, 22);
  });
}

TEST(WithoutNfTables, NoServerOfTheAgentTakesAPortThatHasAListener) {
  in_fresh_namespace([] {
    lose_nf_tables();
    const auto built = build_agent_network();
    ASSERT_TRUE(built);
    const auto ports = open_port_listeners({443});
    ASSERT_TRUE(ports);
    for (const char* address : {"0.0.0.0", "127.0.0.1", "203.0.113.1", "::", "2001:db8::1"}) {
      const SocketAddress at = to_socket_address(endpoint(address, 443));
      const Fd socket(::socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const int on = 1;
      ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
      ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
      const bool taken =
          ::bind(socket.get(), at.get(), at.size) == 0 && ::listen(socket.get(), 1) == 0;
      EXPECT_FALSE(taken) << address;
    }
  });
}

TEST(WithoutNfTables, ListenersThatWereClosedAreMadeAgainFromOutsideAsTheSameSet) {
  in_fresh_namespace([] {
    lose_nf_tables();
    auto built = build_agent_network();
    ASSERT_TRUE(built);
    const auto its_namespace = namespace_of((*built)[0].fd.get());
    ASSERT_TRUE(its_namespace) << to_string(its_namespace.error());
    built->clear();
    const auto again = open_listeners_in(its_namespace->get());
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(roles_of(*again), (Roles{Role::dns_udp, Role::dns_tcp, Role::proxy}));
    expect_verified(*again);
    std::vector<std::uint16_t> many;
    for (std::uint16_t port = 1000; port < 1000 + max_ports; ++port) many.push_back(port);
    const auto ports = open_port_listeners_in(its_namespace->get(), many);
    ASSERT_TRUE(ports) << to_string(ports.error());
    EXPECT_EQ(ports->size(), max_ports);
    expect_verified(*ports);
    expect_connected(ports->back().fd.get(), endpoint("203.0.113.1", 1000 + max_ports - 1),
                     "[::ffff:203.0.113.1]:1255");
    const auto taken = open_port_listeners_in(its_namespace->get(), {2000, 1000});
    ASSERT_FALSE(taken);
    EXPECT_THAT(taken.error().what, testing::HasSubstr("[::]:1000: Address already in use"));
  });
}

// A sluiced that says what a test makes it say.
class OtherEnd {
 public:
  explicit OtherEnd(Fd socket) : socket_(std::move(socket)) {}
  template <class Message>
  std::pair<Message, std::vector<Fd>> asked() {
    auto packet = receive_packet(socket_.get());
    EXPECT_TRUE(packet && *packet && !(*packet)->closed);
    auto request = decode_request((*packet)->bytes);
    EXPECT_TRUE(request && std::holds_alternative<Message>(*request)) << (*packet)->bytes;
    return {std::get<Message>(std::move(*request)), std::move((*packet)->fds)};
  }
  void say(const Answer& answer) { ASSERT_TRUE(send_packet(socket_.get(), encode(answer))); }

 private:
  Fd socket_;
};

TEST(WithoutNfTables, ARegistrationAsksForThePortsAndAddsThoseOfALaterPolicy) {
  in_fresh_namespace([] {
    lose_nf_tables();
    auto built = build_agent_network();
    ASSERT_TRUE(built);
    Listeners listeners;
    for (RoleSocket& socket : *built) {
      listeners[static_cast<std::size_t>(socket.role)] = std::move(socket.fd);
    }
    auto ends = socket_pair();
    ASSERT_TRUE(ends);
    ASSERT_EQ(::fcntl(ends->first.get(), F_SETFL, O_NONBLOCK), 0);
    OtherEnd sluiced(std::move(ends->second));
    ProxyLink link("coder-1");
    ASSERT_TRUE(link.register_over(std::move(ends->first), listeners));
    EXPECT_EQ(sluiced.asked<AskPorts>().first.agent, "coder-1");
    Ports ports;
    for (std::uint16_t port = 1; port <= 20; ++port) ports.ports.push_back(port);
    sluiced.say(ports);
    EXPECT_TRUE(link.receive().empty());

    const auto [request, fds] = sluiced.asked<Register>();
    EXPECT_EQ(request.sockets.size(), max_sockets_per_message);
    EXPECT_EQ(std::count(request.sockets.begin(), request.sockets.end(), Role::port), 13);
    for (std::size_t i = 0; i < fds.size(); ++i) {
      EXPECT_TRUE(verify_socket(request.sockets[i], fds[i].get()));
    }
    sluiced.say(Registered{"id"});
    EXPECT_EQ(link.receive().size(), 1U);
    EXPECT_TRUE(link.is_registered());
    EXPECT_EQ(sluiced.asked<Add>().second.size(), 7U);
    sluiced.say(Accepted{});
    EXPECT_TRUE(link.receive().empty());
    EXPECT_EQ(link.ports(), ports.ports);

    ports.ports.push_back(443);
    sluiced.say(ports);
    EXPECT_TRUE(link.receive().empty());
    const auto [more, added] = sluiced.asked<Add>();
    ASSERT_EQ(added.size(), 1U);
    EXPECT_EQ(local_endpoint(added[0].get())->port, 443);
    expect_connected(added[0].get(), endpoint("203.0.113.1", 443), "[::ffff:203.0.113.1]:443");
    ASSERT_TRUE(link.report({netns::Event::Kind::udp_refused, 3, {}}));
    EXPECT_EQ(sluiced.asked<netns::Event>().first.count, 3U);

    sluiced.say(Ports{true, {}});
    const auto events = link.receive();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<ProxyLink::Impossible>(events[0]));
    link.close_ports();
    EXPECT_EQ(connect_tcp(endpoint("203.0.113.1", 443)).error, ECONNREFUSED);
  });
}

TEST(WithoutIpv6, ANetworkIsOfIpv4AloneAndCaptured) {
  in_fresh_namespace([] {
    lose_ipv6();
    const auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    EXPECT_EQ(roles_of(*built), (Roles{Role::tproxy4, Role::dns_udp, Role::dns_tcp, Role::proxy}));
    EXPECT_TRUE(is_captured(*built));
    expect_verified(*built);
    const Network network([&] {
      std::vector<RoleSocket> copies;
      for (const RoleSocket& socket : *built) {
        copies.push_back({socket.role, Fd(::dup(socket.fd.get()))});
      }
      return copies;
    }());
    expect_connected(network[Role::tproxy4], endpoint("203.0.113.1", 4444), "203.0.113.1:4444");
    expect_connected(network[Role::dns_tcp], endpoint("203.0.113.1", 53), "203.0.113.1:53");
    auto counter = RefusedUdp::open();
    ASSERT_TRUE(counter) << to_string(counter.error());
    const Fd quic = send_udp(endpoint("203.0.113.1", 443), "hello");
    EXPECT_EQ(receive(quic.get()).error, ECONNREFUSED);
    EXPECT_EQ(counter->read().value_or(0), 1U);
    const Fd client = send_udp(endpoint("203.0.113.53", 53), "who?");
    EXPECT_EQ(receive(network[Role::dns_udp]).bytes, "who?");
  });
}

TEST(WithoutIpv6, ListenersThatWereClosedAreMadeAgainFromOutsideAsTheSameSet) {
  in_fresh_namespace([] {
    lose_ipv6();
    auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    const auto its_namespace = namespace_of((*built)[0].fd.get());
    ASSERT_TRUE(its_namespace);
    built->clear();
    const auto again = open_listeners_in(its_namespace->get());
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_EQ(roles_of(*again), (Roles{Role::tproxy4, Role::dns_udp, Role::dns_tcp, Role::proxy}));
  });
}

TEST(WithoutNfTablesAndIpv6, DnsTheProxyAndThePortsAreLeft) {
  in_fresh_namespace([] {
    lose_ipv6();
    lose_nf_tables();
    const auto built = build_agent_network();
    ASSERT_TRUE(built) << to_string(built.error());
    EXPECT_EQ(roles_of(*built), (Roles{Role::dns_udp, Role::dns_tcp, Role::proxy}));
    const auto ports = open_port_listeners({443});
    ASSERT_TRUE(ports) << to_string(ports.error());
    expect_verified(*ports);
    expect_connected((*ports)[0].fd.get(), endpoint("203.0.113.1", 443), "203.0.113.1:443");
    expect_refused(endpoint("203.0.113.1", 80));
  });
}

}  // namespace
}  // namespace sluice::netns::test
