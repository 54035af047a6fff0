#include "netns/routes.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/io.h"
#include "netns/netlink.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

// lo is the first device of every network namespace (net/core/net_namespace.c, LOOPBACK_IFINDEX).
constexpr int loopback_index = 1;

Result<void> bring_loopback_up(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_NEWLINK, 0);
  auto* info = static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg)));
  info->ifi_family = AF_UNSPEC;
  info->ifi_index = loopback_index;
  info->ifi_flags = IFF_UP;
  info->ifi_change = IFF_UP;
  return netlink.change(request, "cannot bring lo up");
}

// One more address of lo. getaddrinfo(3) with AI_ADDRCONFIG asks only for families that have an
// address besides 127.0.0.1 and ::1 (glibc's check_pf.c); without these, such clients would find no
// name at all.
template <class Address>
Result<void> add_address(Netlink& netlink, unsigned char family, const Address& address) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_NEWADDR, 0);
  auto* info = static_cast<ifaddrmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(ifaddrmsg)));
  info->ifa_family = family;
  info->ifa_prefixlen = sizeof(Address) * 8;
  info->ifa_flags = IFA_F_NODAD;
  info->ifa_scope = RT_SCOPE_HOST;
  info->ifa_index = loopback_index;
  mnl_attr_put(message, IFA_LOCAL, sizeof(Address), &address);
  mnl_attr_put(message, IFA_ADDRESS, sizeof(Address), &address);
  return netlink.add(request, "cannot give lo another address");
}

Result<void> add_second_ipv4_address(Netlink& netlink) {
  const in_addr second{htonl(0x7f000002)};  // 127.0.0.2
  return add_address(netlink, AF_INET, second);
}

Result<void> add_second_ipv6_address(Netlink& netlink) {
  // The zeroth address of the synthetic range, which no name ever gets.
  in6_addr second{};
  static_cast<void>(::inet_pton(AF_INET6, "fd73:6c75:6963::", &second));
  return add_address(netlink, AF_INET6, second);
}

nlmsghdr* start_local_default(NetlinkRequest& request, unsigned char family) {
  nlmsghdr* message = request.start(RTM_NEWROUTE, 0);
  auto* route = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(rtmsg)));
  route->rtm_family = family;
  route->rtm_table = RT_TABLE_LOCAL;
  route->rtm_protocol = RTPROT_STATIC;
  route->rtm_scope = RT_SCOPE_HOST;
  route->rtm_type = RTN_LOCAL;
  mnl_attr_put_u32(message, RTA_OIF, loopback_index);
  return message;
}

Result<void> add_ipv4_route(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* message = start_local_default(request, AF_INET);
  mnl_attr_put_u32(message, RTA_PREFSRC, htonl(INADDR_LOOPBACK));
  return netlink.add(request, "cannot add the route 'local 0.0.0.0/0 dev lo'");
}

Result<void> add_ipv6_route(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* message = start_local_default(request, AF_INET6);
  mnl_attr_put(message, RTA_PREFSRC, sizeof(in6addr_loopback), &in6addr_loopback);
  auto added = netlink.add(request, "cannot add the route 'local ::/0 dev lo'");
  if (!added && added.error().hint.empty()) {
    added.error().hint = "the kernel must have IPv6: CONFIG_IPV6, and no ipv6.disable=1 at boot";
  }
  return added;
}

}  // namespace

Result<void> route_everything_to_loopback() {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  // A namespace of somebody else may have IPv6 off by sysctl. Where /proc/sys cannot be written,
  // the IPv6 route fails below and says so.
  static_cast<void>(write_file("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0"));
  auto routed = bring_loopback_up(*netlink)
                    .and_then([&] { return add_second_ipv4_address(*netlink); })
                    .and_then([&] { return add_ipv4_route(*netlink); });
  if (ip_versions() == IpVersions::v4_only) return routed;
  return routed.and_then([&] { return add_second_ipv6_address(*netlink); }).and_then([&] {
    return add_ipv6_route(*netlink);
  });
}

}  // namespace sluice::netns
