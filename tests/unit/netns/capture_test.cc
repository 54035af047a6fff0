#include "netns/capture.h"

#include <gtest/gtest.h>

namespace sluice::netns {
namespace {

TEST(CaptureRules, LeaveLoopbackAloneThenDnsThenRefuseDatagramsAndCaptureEveryConnection) {
  EXPECT_EQ(capture_rules(),
            "add table inet sluice\ndelete table inet sluice\n"
            "create table inet sluice\n"
            "create counter inet sluice refused_udp\n"
            "create chain inet sluice capture { type filter hook prerouting priority mangle; "
            "policy accept; }\n"
            "add rule inet sluice capture ip daddr 127.0.0.0/8 accept\n"
            "add rule inet sluice capture ip6 daddr ::1 accept\n"
            "add rule inet sluice capture tcp dport 53 accept\n"
            "add rule inet sluice capture udp dport 53 accept\n"
            "add rule inet sluice capture udp sport 53 accept\n"
            "add rule inet sluice capture meta l4proto udp counter name refused_udp "
            "reject with icmpx type port-unreachable\n"
            "add rule inet sluice capture meta nfproto ipv4 meta l4proto tcp "
            "tproxy ip to 127.127.127.127:15001 accept\n"
            "add rule inet sluice capture meta nfproto ipv6 meta l4proto tcp "
            "tproxy ip6 to [::1]:15001 accept\n"
            "add rule inet sluice capture tcp flags & (fin | syn | rst | ack) == syn "
            "reject with tcp reset\n"
            "add rule inet sluice capture icmp type echo-request "
            "reject with icmp type admin-prohibited\n"
            "add rule inet sluice capture icmpv6 type echo-request "
            "reject with icmpv6 type admin-prohibited\n");
}

// A kernel without IPv6 has no tables of family inet either (CONFIG_NF_TABLES_INET).
TEST(CaptureRules, AreThoseOfIpv4AloneWhereTheKernelHasNoIpv6) {
  EXPECT_EQ(capture_rules(IpVersions::v4_only),
            "add table ip sluice\ndelete table ip sluice\n"
            "create table ip sluice\n"
            "create counter ip sluice refused_udp\n"
            "create chain ip sluice capture { type filter hook prerouting priority mangle; "
            "policy accept; }\n"
            "add rule ip sluice capture ip daddr 127.0.0.0/8 accept\n"
            "add rule ip sluice capture tcp dport 53 accept\n"
            "add rule ip sluice capture udp dport 53 accept\n"
            "add rule ip sluice capture udp sport 53 accept\n"
            "add rule ip sluice capture meta l4proto udp counter name refused_udp "
            "reject with icmp type port-unreachable\n"
            "add rule ip sluice capture meta l4proto tcp "
            "tproxy ip to 127.127.127.127:15001 accept\n"
            "add rule ip sluice capture tcp flags & (fin | syn | rst | ack) == syn "
            "reject with tcp reset\n"
            "add rule ip sluice capture icmp type echo-request "
            "reject with icmp type admin-prohibited\n");
}

}  // namespace
}  // namespace sluice::netns
