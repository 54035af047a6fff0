#include "netns/namespace.h"

#include <gtest/gtest.h>
#include <net/if.h>

namespace sluice::netns {
namespace {

const Link loopback{1, "lo", "", IFF_LOOPBACK, false, false};

TEST(RequireNoWayOut, AcceptsLoopbackAndTheKernelsIdleFallbackTunnels) {
  const std::vector<Link> links{
      loopback,
      {2, "tunl0", "ipip", IFF_NOARP, false, false},
      {3, "gre0", "gre", IFF_NOARP, false, false},
      {4, "gretap0", "gretap", 0, false, false},
      {5, "erspan0", "erspan", 0, false, false},
      {6, "ip_vti0", "vti", 0, false, false},
      {7, "ip6_vti0", "vti6", 0, false, false},
      {8, "sit0", "sit", 0, false, false},
      {9, "ip6tnl0", "ip6tnl", 0, false, false},
      {10, "ip6gre0", "ip6gre", 0, false, false},
  };
  const auto accepted = require_no_way_out(links);
  EXPECT_TRUE(accepted) << to_string(accepted.error());
}

TEST(RequireNoWayOut, RefusesEveryOtherLinkAndNamesIt) {
  const auto refused = require_no_way_out({loopback, {2, "eth0", "veth", IFF_UP, true, false}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_permitted);
  EXPECT_EQ(to_string(refused.error()),
            "error: the network namespace has the link 'eth0' (veth): a way out beside the policy\n"
            "hint: start the container without a network (--network none), then attach again");
}

TEST(RequireNoWayOut, RefusesWhatOnlyLooksLikeAFallbackTunnel) {
  const std::vector<Link> cases{
      {2, "tunl0", "veth", 0, false, false},       // the name alone proves nothing
      {2, "tunl0", "", 0, false, false},           // nor does hardware renamed
      {2, "tunl0", "ipip", IFF_UP, false, false},  // in use
      {2, "tunl0", "ipip", 0, true, false},        // about to be used
      {2, "tunl0", "ipip", 0, false, true},        // its packets leave through another namespace
      {2, "tunl1", "ipip", 0, false, false},      {2, "wg0", "wireguard", 0, false, false},
      {2, "lo", "dummy", 0, false, false},
  };
  for (const Link& link : cases) {
    EXPECT_FALSE(is_idle_fallback_tunnel(link)) << link.name << " " << link.kind;
    EXPECT_FALSE(require_no_way_out({loopback, link})) << link.name << " " << link.kind;
  }
}

TEST(RequireNoWayOut, EscapesALinkNameThatSomebodyChose) {
  const auto refused = require_no_way_out({loopback, {2, "e\x1b[2J", "", 0, false, false}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what,
            "the network namespace has the link 'e\\x1b[2J': a way out beside the policy");
}

TEST(RequireNoWayOut, RefusesANamespaceWithoutLoopback) {
  const auto refused = require_no_way_out({});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "the network namespace has no loopback link");
}

}  // namespace
}  // namespace sluice::netns
