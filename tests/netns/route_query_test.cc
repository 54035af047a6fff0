// The kernel's routes change under one who remembers its answers.
#include "proxy/egress/route_query.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <unistd.h>

#include "netns/netlink.h"
#include "tests/netns/support.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using netns::NetlinkRequest;

constexpr unsigned loopback_index = 1;
constexpr unsigned char other_table = 100;
constexpr RouteQuery::Memory at_once_and_for_ever{.settling = 0ms, .life = 1h};

// One change of this namespace, made before the call returns.
class Change {
 public:
  template <class Extra>
  Change(std::uint16_t type, const Extra& extra) {
    const bool adds = type == RTM_NEWADDR || type == RTM_NEWROUTE || type == RTM_NEWRULE;
    message_ = request_.start(type, adds ? NLM_F_CREATE | NLM_F_EXCL : 0);
    *static_cast<Extra*>(mnl_nlmsg_put_extra_header(message_, sizeof(Extra))) = extra;
  }
  Change& with(std::uint16_t attribute, std::uint32_t value) {
    mnl_attr_put_u32(message_, attribute, value);
    return *this;
  }
  Change& with(std::uint16_t attribute, const IpAddress& address) {
    mnl_attr_put(message_, attribute, address.is_v4() ? 4 : 16, address.bytes().data());
    return *this;
  }
  void make() {
    auto netlink = netns::Netlink::open(NETLINK_ROUTE);
    ASSERT_TRUE(netlink);
    const auto made = netlink->change(request_, "change");
    ASSERT_TRUE(made) << to_string(made.error());
  }

 private:
  NetlinkRequest request_;
  nlmsghdr* message_ = nullptr;
};

unsigned char family(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }
unsigned char bits(const IpAddress& address) { return address.is_v4() ? 32 : 128; }
IpAddress ip(const char* text) { return *IpAddress::parse(text); }

void address(std::uint16_t type, const IpAddress& own) {
  ifaddrmsg info{};
  info.ifa_family = family(own);
  info.ifa_prefixlen = bits(own);
  info.ifa_flags = IFA_F_NODAD;
  info.ifa_index = loopback_index;
  Change(type, info).with(IFA_LOCAL, own).with(IFA_ADDRESS, own).make();
}

struct Route {
  IpAddress to;
  unsigned char length;
  unsigned char table = RT_TABLE_MAIN;
  unsigned char type = RTN_UNICAST;
};

void route(std::uint16_t type, const Route& which) {
  rtmsg info{};
  info.rtm_family = family(which.to);
  info.rtm_dst_len = which.length;
  info.rtm_table = which.table;
  info.rtm_protocol = RTPROT_STATIC;
  info.rtm_scope = which.type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
  info.rtm_type = which.type;
  Change(type, info).with(RTA_DST, which.to).with(RTA_OIF, loopback_index).make();
}

void rule(std::uint16_t type, unsigned char of_family) {
  fib_rule_hdr info{};
  info.family = of_family;
  info.table = other_table;
  info.action = FR_ACT_TO_TBL;
  Change(type, info).with(FRA_PRIORITY, 10U).make();
}

void bring_loopback_up() {
  ifinfomsg info{};
  info.ifi_index = loopback_index;
  info.ifi_flags = IFF_UP;
  info.ifi_change = IFF_UP;
  Change(RTM_NEWLINK, info).make();
}

// Two answers, of which the second one is from memory.
void remember(RouteQuery& routes, const IpAddress& address, bool local) {
  EXPECT_EQ(bool(routes.is_local(address)), local) << address.to_string();
  const auto before = routes.asked();
  EXPECT_EQ(bool(routes.is_local(address)), local) << address.to_string();
  EXPECT_EQ(routes.asked(), before) << "not remembered: " << address.to_string();
}

// The kernel may leave the route of an IPv6 address to its work queue (addrconf_dad_start).
void wait_until_local(const IpAddress& own) {
  auto routes = RouteQuery::open({.settling = 1h, .life = 0ms});
  const auto until = std::chrono::steady_clock::now() + 10s;
  while (!bool(routes->is_local(own)) && std::chrono::steady_clock::now() < until) ::usleep(1000);
}

TEST(RouteQuery, AsksTheKernelOnceWhileNothingChanges) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    route(RTM_NEWROUTE, {ip("10.0.0.0"), 8});
    auto routes = RouteQuery::open(at_once_and_for_ever);
    ASSERT_TRUE(routes);
    remember(*routes, ip("127.0.0.1"), true);
    remember(*routes, ip("10.9.9.9"), false);
    remember(*routes, ip("::1"), true);
    for (int i = 0; i < 100; ++i) EXPECT_FALSE(bool(routes->is_local(ip("10.9.9.9"))));
    EXPECT_EQ(routes->asked(), 3U);
  });
}

TEST(RouteQuery, SeesAnAddressThatComesAndGoesInItsVeryNextAnswer) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    route(RTM_NEWROUTE, {ip("10.0.0.0"), 8});
    auto routes = RouteQuery::open(at_once_and_for_ever);
    ASSERT_TRUE(routes);
    for (const char* text : {"10.9.9.9", "2001:db8::9"}) {
      const IpAddress own = ip(text);
      for (int turn = 0; turn < 3; ++turn) {
        EXPECT_FALSE(bool(routes->is_local(own))) << text;
        EXPECT_FALSE(bool(routes->is_local(own))) << text;
        address(RTM_NEWADDR, own);
        if (!own.is_v4()) wait_until_local(own);
        remember(*routes, own, true);
        address(RTM_DELADDR, own);
      }
      EXPECT_FALSE(bool(routes->is_local(own))) << text;
    }
  });
}

TEST(RouteQuery, SeesARouteThatComesAndGoesInItsVeryNextAnswer) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    route(RTM_NEWROUTE, {ip("10.0.0.0"), 8});
    auto routes = RouteQuery::open(at_once_and_for_ever);
    ASSERT_TRUE(routes);
    const Route local4{ip("10.9.0.0"), 16, RT_TABLE_LOCAL, RTN_LOCAL};
    remember(*routes, ip("10.9.9.9"), false);
    route(RTM_NEWROUTE, local4);
    remember(*routes, ip("10.9.9.9"), true);
    route(RTM_DELROUTE, local4);
    remember(*routes, ip("10.9.9.9"), false);
    const Route local6{ip("2001:db8::"), 32, RT_TABLE_LOCAL, RTN_LOCAL};
    EXPECT_FALSE(bool(routes->is_local(ip("2001:db8::9"))));
    route(RTM_NEWROUTE, local6);
    remember(*routes, ip("2001:db8::9"), true);
    route(RTM_DELROUTE, local6);
    EXPECT_FALSE(bool(routes->is_local(ip("2001:db8::9"))));
  });
}

TEST(RouteQuery, SeesARuleThatComesAndGoesInItsVeryNextAnswer) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    route(RTM_NEWROUTE, {ip("10.0.0.0"), 8});
    route(RTM_NEWROUTE, {ip("10.9.0.0"), 16, other_table, RTN_LOCAL});
    route(RTM_NEWROUTE, {ip("2001:db8::"), 32, other_table, RTN_LOCAL});
    auto routes = RouteQuery::open(at_once_and_for_ever);
    ASSERT_TRUE(routes);
    remember(*routes, ip("10.9.9.9"), false);
    rule(RTM_NEWRULE, AF_INET);
    remember(*routes, ip("10.9.9.9"), true);
    rule(RTM_DELRULE, AF_INET);
    remember(*routes, ip("10.9.9.9"), false);
    EXPECT_FALSE(bool(routes->is_local(ip("2001:db8::9"))));
    rule(RTM_NEWRULE, AF_INET6);
    remember(*routes, ip("2001:db8::9"), true);
    rule(RTM_DELRULE, AF_INET6);
    EXPECT_FALSE(bool(routes->is_local(ip("2001:db8::9"))));
  });
}

// More than the socket holds: the kernel says only that something was lost.
TEST(RouteQuery, ForgetsEverythingWhenItCannotHearAllChanges) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    route(RTM_NEWROUTE, {ip("10.0.0.0"), 8});
    auto routes = RouteQuery::open(at_once_and_for_ever);
    ASSERT_TRUE(routes);
    remember(*routes, ip("10.9.9.9"), false);
    for (int i = 0; i < 300; ++i) {
      route(RTM_NEWROUTE, {ip("10.7.0.0"), 16});
      route(RTM_DELROUTE, {ip("10.7.0.0"), 16});
    }
    address(RTM_NEWADDR, ip("10.9.9.9"));
    EXPECT_TRUE(bool(routes->is_local(ip("10.9.9.9"))));
    address(RTM_DELADDR, ip("10.9.9.9"));
    EXPECT_FALSE(bool(routes->is_local(ip("10.9.9.9"))));
  });
}

TEST(RouteQuery, RemembersNothingWhileChangesSettleNorBeyondTheLifeOfAnAnswer) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    for (const RouteQuery::Memory memory : {RouteQuery::Memory{.settling = 1h, .life = 1h},
                                            RouteQuery::Memory{.settling = 0ms, .life = 0ms}}) {
      auto routes = RouteQuery::open(memory);
      ASSERT_TRUE(routes);
      for (int i = 0; i < 5; ++i) EXPECT_TRUE(bool(routes->is_local(ip("127.0.0.1"))));
      EXPECT_EQ(routes->asked(), 5U);
    }
  });
}

// An IPv6 route may expire without a word and uncover another one.
TEST(RouteQuery, OfIPv6RemembersOnlyWhatItRefuses) {
  netns::test::in_fresh_namespace([] {
    bring_loopback_up();
    auto routes = RouteQuery::open(at_once_and_for_ever);
    ASSERT_TRUE(routes);
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(bool(routes->is_local(ip("2001:db8::9"))));
    EXPECT_EQ(routes->asked(), 5U);
    remember(*routes, ip("::1"), true);
  });
}

}  // namespace
}  // namespace sluice::proxy
