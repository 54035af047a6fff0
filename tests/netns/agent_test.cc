// What the agent, an ordinary user in a user namespace below the owner's, can do to its network:
// nothing.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/io.h"
#include "netns/capture.h"
#include "netns/routes.h"
#include "support.h"

namespace sluice::netns::test {
namespace {

struct Message {
  alignas(nlmsghdr) std::array<char, 4096> bytes{};
  nlmsghdr* header = mnl_nlmsg_put_header(bytes.data());
};

int set_link_errno(unsigned flags) {
  Message message;
  message.header->nlmsg_type = RTM_NEWLINK;
  message.header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto* info =
      static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(message.header, sizeof(ifinfomsg)));
  info->ifi_index = 1;
  info->ifi_flags = flags;
  info->ifi_change = IFF_UP;
  return netlink_errno(NETLINK_ROUTE, *message.header);
}

int change_route_errno(std::uint16_t type) {
  Message message;
  message.header->nlmsg_type = type;
  message.header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
  auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(message.header, sizeof(rtmsg)));
  route->rtm_family = AF_INET;
  route->rtm_table = RT_TABLE_LOCAL;
  route->rtm_type = RTN_LOCAL;
  route->rtm_scope = RT_SCOPE_HOST;
  route->rtm_protocol = RTPROT_STATIC;
  mnl_attr_put_u32(message.header, RTA_OIF, 1);
  return netlink_errno(NETLINK_ROUTE, *message.header);
}

int add_address_errno() {
  Message message;
  message.header->nlmsg_type = RTM_NEWADDR;
  message.header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
  auto* info =
      static_cast<ifaddrmsg*>(mnl_nlmsg_put_extra_header(message.header, sizeof(ifaddrmsg)));
  info->ifa_family = AF_INET;
  info->ifa_prefixlen = 32;
  info->ifa_index = 1;
  mnl_attr_put_u32(message.header, IFA_LOCAL, htonl(0xc6336407));
  return netlink_errno(NETLINK_ROUTE, *message.header);
}

int list_tables_errno() {
  Message message;
  message.header->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE;
  message.header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  auto* info = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message.header, sizeof(nfgenmsg)));
  info->version = NFNETLINK_V0;
  return netlink_errno(NETLINK_NETFILTER, *message.header);
}

int option_errno(int family, int level, int option) {
  const Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  return ::setsockopt(socket.get(), level, option, &on, sizeof(on)) == 0 ? 0 : errno;
}

int socket_errno(int family, int type, int protocol) {
  const Fd socket(::socket(family, type | SOCK_CLOEXEC, protocol));
  return socket ? 0 : errno;
}

TEST(Agent, CannotChangeLinksAddressesOrRoutes) {
  in_agent_network([](Network&) {
    as_agent([] {
      EXPECT_EQ(set_link_errno(0), EPERM);
      EXPECT_EQ(add_link_errno("veth", "out0"), EPERM);
      EXPECT_EQ(add_link_errno("dummy", "out0"), EPERM);
      EXPECT_EQ(add_address_errno(), EPERM);
      EXPECT_EQ(change_route_errno(RTM_NEWROUTE), EPERM);
      EXPECT_EQ(change_route_errno(RTM_DELROUTE), EPERM);
      const auto routes = route_everything_to_loopback();
      ASSERT_FALSE(routes);
      EXPECT_EQ(routes.error().code, Errc::not_permitted);
    });
  });
}

TEST(Agent, CannotReadOrChangeTheCaptureRules) {
  in_agent_network([](Network&) {
    as_agent([] {
      EXPECT_EQ(list_tables_errno(), EPERM);
      const auto rules = load_capture_rules();
      ASSERT_FALSE(rules);
      EXPECT_EQ(rules.error().code, Errc::not_permitted);
    });
  });
}

TEST(Agent, CannotMakeTransparentRawOrPacketSockets) {
  in_agent_network([](Network&) {
    as_agent([] {
      EXPECT_EQ(option_errno(AF_INET, IPPROTO_IP, IP_TRANSPARENT), EPERM);
      EXPECT_EQ(option_errno(AF_INET6, IPPROTO_IPV6, IPV6_TRANSPARENT), EPERM);
      EXPECT_EQ(option_errno(AF_INET, SOL_SOCKET, SO_MARK), EPERM);
      EXPECT_EQ(socket_errno(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
      EXPECT_EQ(socket_errno(AF_INET, SOCK_RAW, IPPROTO_RAW), EPERM);
      EXPECT_EQ(socket_errno(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), EPERM);
      EXPECT_NE(socket_errno(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), 0);
      EXPECT_EQ(socket_errno(AF_PACKET, SOCK_RAW, 0), EPERM);
      EXPECT_EQ(socket_errno(AF_PACKET, SOCK_DGRAM, 0), EPERM);
    });
  });
}

TEST(Agent, CannotTieItsNetworkToOneItMakesItself) {
  in_agent_network([](Network&) {
    const pid_t owner = ::getpid();
    as_agent([owner] {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << strerrordesc_np(errno);
      EXPECT_EQ(add_link_errno("veth", "out0", owner), EPERM);
    });
  });
}

TEST(Agent, CannotWriteTheSysctlsOfItsNetwork) {
  in_agent_network([](Network&) {
    as_agent([] {
      EXPECT_FALSE(write_file("/proc/sys/net/ipv4/ip_forward", "1"));
      EXPECT_FALSE(write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"));
    });
  });
}

TEST(Agent, ServesOnLowPortsOfItsOwnLoopbackAndReachesTheProxy) {
  in_agent_network([](Network& network) {
    as_agent([&network] {
      const Fd server = listen_on(endpoint("127.0.0.1", 80));
      EXPECT_EQ(connect_tcp(endpoint("127.0.0.1", 80)).error, 0);
      EXPECT_TRUE(accept_one(server.get()));
      const Attempt client = connect_tcp(endpoint("203.0.113.1", 80));
      EXPECT_EQ(client.error, 0);
      EXPECT_TRUE(accept_one(network[Role::tproxy4]));
    });
  });
}

}  // namespace
}  // namespace sluice::netns::test
