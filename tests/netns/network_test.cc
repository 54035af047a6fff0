#include "netns/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/io.h"
#include "netns/capture.h"
#include "netns/namespace.h"
#include "support.h"

namespace sluice::netns::test {
namespace {

void load_rules(const char* rules) {
  nft_ctx* context = nft_ctx_new(NFT_CTX_DEFAULT);
  EXPECT_EQ(nft_run_cmd_from_buffer(context, rules), 0);
  nft_ctx_free(context);
}

using testing::HasSubstr;
using testing::StartsWith;

TEST(AgentNetwork, HasASocketOfEachRoleThatSluicedAcceptsWithOneForeignCookie) {
  const auto outside = own_netns_cookie();
  ASSERT_TRUE(outside);
  in_agent_network([&](Network& network) {
    std::set<std::uint64_t> cookies;
    ASSERT_EQ(network.sockets().size(), role_count);
    for (const RoleSocket& socket : network.sockets()) {
      const auto cookie = verify_socket(socket.role, socket.fd.get());
      ASSERT_TRUE(cookie) << to_string(cookie.error());
      cookies.insert(*cookie);
    }
    EXPECT_EQ(cookies, std::set<std::uint64_t>{*own_netns_cookie()});
    EXPECT_FALSE(cookies.contains(*outside));
  });
}

TEST(AgentNetwork, HandsOverNoListenerWithAConnectionOfItsOwnCheckInIt) {
  in_agent_network([](Network& network) {
    for (const RoleSocket& socket : network.sockets()) {
      EXPECT_TRUE(is_empty(socket.fd.get())) << role_name(socket.role);
    }
  });
}

TEST(AgentNetwork, RefusesSocketsThatChangedRoles) {
  in_agent_network([](Network& network) {
    for (const RoleSocket& socket : network.sockets()) {
      for (const Role role :
           {Role::tproxy4, Role::tproxy6, Role::dns_udp, Role::dns_tcp, Role::proxy}) {
        if (role == socket.role) continue;
        EXPECT_FALSE(verify_socket(role, socket.fd.get()))
            << role_name(socket.role) << " passed for " << role_name(role);
      }
    }
  });
}

TEST(AgentNetwork, HasNoLinkButLoopbackAndIdleTunnels) {
  in_agent_network([](Network&) {
    const auto links = list_links();
    ASSERT_TRUE(links);
    EXPECT_TRUE(require_no_way_out(*links));
    EXPECT_EQ(links->front().name, "lo");
  });
}

TEST(AgentNetwork, LetsTheAgentServeOnLowPorts) {
  in_agent_network([](Network&) {
    EXPECT_EQ(read_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", 64).value_or("?"), "0\n");
  });
}

TEST(AgentNetwork, RefusesANamespaceThatHasAnotherLink) {
  in_fresh_namespace([] {
    for (const std::string kind : {"veth", "dummy", "bridge"}) {
      if (add_link_errno(kind, "eth0") != 0) continue;
      const auto refused = build_agent_network();
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, Errc::not_permitted);
      EXPECT_THAT(refused.error().what, StartsWith("the network namespace has the link '"));
      EXPECT_THAT(refused.error().what, HasSubstr("' (" + kind + "): a way out beside the policy"));
      return;
    }
    GTEST_SKIP() << "the kernel has none of the link kinds veth, dummy, bridge";
  });
}

TEST(AgentNetwork, IsBuiltAgainOnlyWhereNobodyHoldsItsListeners) {
  in_agent_network([](Network& network) {
    const auto again = build_agent_network();
    ASSERT_FALSE(again);
    EXPECT_THAT(again.error().what, HasSubstr("Address already in use"));
    network.close_all();
    // Rules, routes and addresses are there, as after a build that was killed.
    auto sockets = build_agent_network();
    ASSERT_TRUE(sockets) << to_string(sockets.error());
    const Network renewed(std::move(*sockets));
    EXPECT_EQ(connect_tcp(endpoint("203.0.113.9", 443)).error, 0);
    EXPECT_TRUE(accept_one(renewed[Role::tproxy4]));
  });
}

TEST(AgentNetwork, CanMakeNewListenersOnceEveryHolderHasClosedTheOld) {
  in_agent_network([](Network& network) {
    const auto taken = open_listeners();
    ASSERT_FALSE(taken);
    EXPECT_THAT(taken.error().what, HasSubstr("Address already in use"));
    // Connections that were served leave TIME_WAIT behind: no reason to wait a minute.
    const Attempt client = connect_tcp(endpoint("203.0.113.9", 443));
    accept_one(network[Role::tproxy4]).reset();
    network.close_all();
    auto sockets = open_listeners();
    ASSERT_TRUE(sockets) << to_string(sockets.error());
    const Network renewed(std::move(*sockets));
    const Attempt next = connect_tcp(endpoint("203.0.113.9", 443));
    EXPECT_EQ(next.error, 0);
    EXPECT_TRUE(accept_one(renewed[Role::tproxy4]));
  });
}

TEST(AgentNetwork, TurnsIpv6OnWhereASysctlHadItOff) {
  in_fresh_namespace([] {
    ASSERT_TRUE(write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"));
    const auto built = build_agent_network();
    EXPECT_TRUE(built) << to_string(built.error());
  });
}

TEST(AgentNetwork, IsRefusedWhereItsOwnCheckIsNotCaptured) {
  in_fresh_namespace([] {
    load_rules(
        "create table inet other\n"
        "create chain inet other block { type filter hook prerouting priority raw; }\n"
        "add rule inet other block ip6 daddr 2001:db8::/32 tcp dport 443 reject with tcp reset\n");
    const auto refused = build_agent_network();
    ASSERT_FALSE(refused);
    EXPECT_EQ(to_string(refused.error()),
              "error: a connection to [2001:db8::1]:443 was refused\n"
              "hint: other rules in this network namespace are in the way: use a fresh one, or run "
              "sluice doctor");
  });
}

TEST(AgentNetwork, NeedsCapNetAdminAndSaysSo) {
  in_fresh_namespace([] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2]{};
    ASSERT_EQ(::syscall(SYS_capset, &header, none), 0);
    const auto refused = build_agent_network();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::not_permitted);
    EXPECT_EQ(to_string(refused.error()),
              "error: cannot load the capture rules: Operation not permitted\n"
              "hint: this needs CAP_NET_ADMIN in the user namespace that owns the network");
  });
}

}  // namespace
}  // namespace sluice::netns::test
