#include "netns/containers/chained.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "netns/containers/chained_rules.h"
#include "netns/inside.h"
#include "netns/namespace.h"
#include "pod.h"

namespace sluice::netns::test {
namespace {

using testing::HasSubstr;

int listener_of(const ChainedNetwork& network, Role role) {
  for (const RoleSocket& socket : network.sockets) {
    if (socket.role == role) return socket.fd.get();
  }
  return -1;
}

TEST(ChainedPod, AnswersWhoCallsFromOutsideOverTcpAndUdpOfBothVersions) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    for (const char* const at : {"0.0.0.0", "::", pod4, pod6}) {
      const char* const to = std::string_view(at).find(':') == std::string_view::npos ? pod4 : pod6;
      while_serving(pod, {at, 8080, SOCK_STREAM},
                    [&] { EXPECT_EQ(ask_tcp(endpoint(to, 8080)), "hello") << at; });
      while_serving(pod, {at, 8080, SOCK_DGRAM},
                    [&] { EXPECT_EQ(ask_udp(endpoint(to, 8080)), "hello") << at; });
    }
    EXPECT_EQ(ask_tcp(endpoint(pod4, 8080)), "ECONNREFUSED") << "where nobody listens";
    EXPECT_EQ(ask_tcp(endpoint(pod6, 8080)), "ECONNREFUSED");
    EXPECT_EQ(ask_udp(endpoint(pod4, 8080)), "ECONNREFUSED");
    EXPECT_EQ(ask_udp(endpoint(pod6, 8080)), "ECONNREFUSED");
    shell("ping -c 1 -W 5 10.9.0.5 >/dev/null && ping -c 1 -W 5 fd09::5 >/dev/null");
  });
}

TEST(ChainedPod, AnswersWithThePacketSizeOfItsInterface) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    while_serving(pod, {"0.0.0.0", 8080, SOCK_STREAM}, [&] {
      Tap tap;
      EXPECT_EQ(ask_tcp(endpoint(pod4, 8080)), "hello");
      bool seen = false;
      for (const std::string& frame : tap.frames()) {
        const bool syn_ack = frame.size() > 58 && frame[23] == 6 && frame[47] == 0x12;
        if (!syn_ack) continue;
        seen = true;
        EXPECT_EQ(frame.substr(54, 4), "\x02\x04\x05\xb4") << "maximum segment 1460";
      }
      EXPECT_TRUE(seen);
    });
  });
}

TEST(ChainedPod, LeadsAllThatItStartsToTheProxy) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    Tap tap;
    for (const char* const to :
         {"203.0.113.1", far4, node4, "10.9.0.77", far6, node6, "fd09::77"}) {
      const Endpoint destination = endpoint(to, 443);
      const bool v4 = destination.address.is_v4();
      const int listener = listener_of(network, v4 ? Role::tproxy4 : Role::tproxy6);
      const std::vector<std::optional<Endpoint>> sources{
          std::nullopt, endpoint(v4 ? pod4 : pod6, 0), endpoint(v4 ? "127.0.0.1" : "::1", 0)};
      for (const auto& source : sources) {
        pod.as_pod([&] {
          const Attempt attempt = connect_tcp(destination, source);
          EXPECT_EQ(attempt.error, 0) << to << " " << strerrordesc_np(attempt.error);
        });
        const Fd session = accept_one(listener);
        ASSERT_TRUE(session) << to;
        EXPECT_EQ(local_endpoint(session.get()).value_or(Endpoint{}), destination);
      }
    }
    for (const std::string& frame : tap.frames())
      EXPECT_TRUE(is_link_control(frame)) << describe(frame);
  });
}

TEST(ChainedPod, MayHaveAddressesOfOneIpVersionOnly) {
  for (const bool v4 : {true, false}) {
    in_fresh_namespace([&] {
      const Pod pod;
      pod.in_pod([&] {
        shell(v4 ? "ip -6 addr flush dev eth0 scope global" : "ip -4 addr flush dev eth0");
      });
      const ChainedNetwork network = pod.build();
      while_serving(pod, {"::", 8080, SOCK_DGRAM},
                    [&] { EXPECT_EQ(ask_udp(endpoint(v4 ? pod4 : pod6, 8080)), "hello"); });
      for (const char* const to : {far4, far6}) {
        pod.as_pod([&] { EXPECT_EQ(connect_tcp(endpoint(to, 443)).error, 0) << to; });
        const bool to4 = to == far4;
        EXPECT_TRUE(accept_one(listener_of(network, to4 ? Role::tproxy4 : Role::tproxy6))) << to;
      }
      EXPECT_TRUE(check_chained_network(pod.fd(), network.facts));
    });
  }
}

TEST(ChainedPod, ReachesItsOwnServersByItsOwnAddress) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    while_serving(pod, {"::", 8080, SOCK_STREAM}, [&] {
      pod.as_pod([] {
        for (const char* const to : {pod4, pod6, "127.0.0.1", "::1"}) {
          EXPECT_EQ(ask_tcp(endpoint(to, 8080)), "hello") << to;
        }
      });
    });
  });
}

TEST(ChainedPod, LetsNobodyOutsideAskTheDnsListener) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    EXPECT_EQ(ask_tcp(endpoint(pod4, 53)), "ECONNREFUSED");
    EXPECT_EQ(ask_tcp(endpoint(pod6, 53)), "ECONNREFUSED");
    EXPECT_EQ(ask_udp(endpoint(pod4, 53)), "ECONNREFUSED");
    EXPECT_EQ(ask_udp(endpoint(pod6, 53)), "ECONNREFUSED");
    shell("ip route add 203.0.113.0/24 via 10.9.0.5");
    const Fd through(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const SocketAddress to = to_socket_address(endpoint("203.0.113.1", 443));
    EXPECT_EQ(::connect(through.get(), to.get(), to.size), -1) << "a pod is no router to its proxy";
    EXPECT_EQ(ask_tcp(endpoint(pod4, 8080)), "ECONNREFUSED") << "by the same link, later";
    EXPECT_TRUE(is_empty(listener_of(network, Role::tproxy4)));
    EXPECT_TRUE(is_empty(listener_of(network, Role::dns_tcp)));
    EXPECT_TRUE(is_empty(listener_of(network, Role::dns_udp)));
  });
}

// -------------------------------------------------------------------------

TEST(ChainedNetwork, HasASocketOfEachRole) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    ASSERT_EQ(network.sockets.size(), role_count);
    for (const RoleSocket& socket : network.sockets) {
      EXPECT_TRUE(verify_socket(socket.role, socket.fd.get())) << role_name(socket.role);
    }
  });
}

TEST(ChainedNetwork, CheckNamesWhatWasChanged) {
  const std::vector<std::pair<std::string, std::string>> changes{
      {"ip rule add pref 5 lookup main", "a connection to 203.0.113.1 would not go to the proxy"},
      {"ip -6 rule add pref 5 lookup main",
       "a connection to 2001:db8::1 would not go to the proxy"},
      {"ip link add d0 type veth peer name d1", "'d1'"},
      {"ip link del eth0", "'eth0'"}};
  for (const auto& [command, expected] : changes) {
    in_fresh_namespace([&, command = command, expected = expected] {
      const Pod pod;
      const ChainedNetwork network = pod.build();
      const auto before = check_chained_network(pod.fd(), network.facts);
      ASSERT_TRUE(before) << to_string(before.error());
      pod.in_pod([&] { shell(command); });
      const auto checked = check_chained_network(pod.fd(), network.facts);
      ASSERT_FALSE(checked) << command;
      EXPECT_THAT(checked.error().what, HasSubstr(expected));
    });
  }
}

TEST(ChainedNetwork, CheckIsTheSameAfterTraffic) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    while_serving(pod, {"::", 8080, SOCK_DGRAM},
                  [] { EXPECT_EQ(ask_udp(endpoint(pod4, 8080)), "hello"); });
    pod.as_pod([] { EXPECT_EQ(ask_udp(endpoint(far4, 99)), "ECONNREFUSED"); });
    const auto checked = check_chained_network(pod.fd(), network.facts);
    EXPECT_TRUE(checked) << to_string(checked.error());
  });
}

TEST(ChainedNetwork, RefusesANodeWhereTcTakesPacketsBeforeTheRules) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    if (std::system("tc qdisc add dev vnode clsact 2>/dev/null") != 0) {
      GTEST_SKIP() << "the kernel has no clsact (CONFIG_NET_SCH_INGRESS)";
    }
    const auto checked = check_chained_network(pod.fd(), network.facts);
    ASSERT_FALSE(checked);
    EXPECT_THAT(checked.error().what, HasSubstr("'vnode' has a tc filter"));
  });
}

TEST(ChainedNetwork, CheckSeesRulesThatWereChangedOrRemoved) {
  in_fresh_namespace([] {
    const Pod pod;
    const ChainedNetwork network = pod.build();
    pod.in_pod([] { EXPECT_TRUE(load_rules("flush chain inet sluice departures\n", "x")); });
    const auto checked = check_chained_network(pod.fd(), network.facts);
    ASSERT_FALSE(checked);
    EXPECT_EQ(checked.error().what, "the rules of the pod's network were changed (rules)");
    EXPECT_TRUE(remove_node_wall("sluice_test"));
    EXPECT_TRUE(remove_node_wall("sluice_test")) << "what is gone is removed";
    EXPECT_FALSE(check_chained_network(pod.fd(), network.facts));
  });
}

TEST(ChainedNetwork, RefusesAnInterfaceWhoseOtherEndItCannotFilterUnlessRawSocketsAreAllowed) {
  in_fresh_namespace([] {
    const Pod pod;
    const auto elsewhere = do_in_fresh_namespace([]() -> Result<Brought> { return Brought{}; });
    ASSERT_TRUE(elsewhere);
    shell(fmt::format("ip link set vnode netns /proc/{}/fd/{}", ::getpid(),
                      elsewhere->fds.back().get()));
    const auto refused = build_chained_network(pod.request());
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().what, HasSubstr("(veth) has no other end"));
    EXPECT_THAT(refused.error().hint, HasSubstr("allowRawSockets"));
    EXPECT_EQ(pod.build(AllowRawSockets::yes).sockets.size(), role_count);
  });
}

TEST(ChainedNetwork, RefusesANamespaceWithAnotherLinkBesides) {
  in_fresh_namespace([] {
    const Pod pod;
    pod.in_pod([] { shell("ip link add net1 type veth peer name net2"); });
    const auto refused = build_chained_network(pod.request());
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().what, HasSubstr("'net2'"));
  });
}

TEST(ChainedNetwork, RefusesAnInterfaceThatIsNotThereOrHasNoAddress) {
  in_fresh_namespace([] {
    const Pod pod;
    ChainedRequest request = pod.request();
    request.interface = "eth7";
    EXPECT_FALSE(build_chained_network(request));
    request.interface = "eth0\"; flush ruleset; #";
    EXPECT_FALSE(build_chained_network(request));
    pod.in_pod([] { shell("ip addr flush dev eth0"); });
    const auto refused = build_chained_network(pod.request());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().what, "the interface 'eth0' has no IP address");
  });
}

}  // namespace
}  // namespace sluice::netns::test
