// Looks at the calling thread's network namespace: is loopback all there is?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strong.h"

namespace sluice::netns {

class Netlink;

struct Link {
  int index = 0;
  std::string name;
  std::string kind;                // IFLA_INFO_KIND: "veth", "ipip"; empty for lo and hardware
  std::uint32_t flags = 0;         // IFF_UP, IFF_LOOPBACK (netdevice(7))
  bool has_address = false;        // any IPv4 or IPv6 address
  bool in_two_namespaces = false;  // its lower half is elsewhere (IFLA_LINK_NETNSID)
};

// Every link of the namespace (rtnetlink(7), RTM_GETLINK and RTM_GETADDR).
Result<std::vector<Link>> list_links();
// The same of the namespace in which the socket was opened.
Result<std::vector<Link>> list_links(Netlink& netlink);

// True for the devices that tunnel modules put into each new namespace by themselves (tunl0, sit0,
// ip6tnl0, gre0, gretap0, erspan0, ip_vti0, ip6_vti0, ip6gre0), while down and without an address.
bool is_idle_fallback_tunnel(const Link& link);

// Refuses (Errc::not_permitted) when there is a link that is neither lo nor an idle fallback
// tunnel.
Result<void> require_no_way_out(const std::vector<Link>& links);

}  // namespace sluice::netns
