#include "netns/namespace.h"

#include <fmt/core.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "netns/netlink.h"

namespace sluice::netns {
namespace {

// Name and IFLA_INFO_KIND: a veth may be called tunl0.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> fallback_tunnels{{
    {"tunl0", "ipip"},
    {"sit0", "sit"},
    {"ip6tnl0", "ip6tnl"},
    {"gre0", "gre"},
    {"gretap0", "gretap"},
    {"erspan0", "erspan"},
    {"ip_vti0", "vti"},
    {"ip6_vti0", "vti6"},
    {"ip6gre0", "ip6gre"},
}};

int read_kind(const nlattr* attribute, void* data) {
  if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND) {
    static_cast<Link*>(data)->kind = mnl_attr_get_str(attribute);
  }
  return MNL_CB_OK;
}

int read_attribute(const nlattr* attribute, void* data) {
  auto* link = static_cast<Link*>(data);
  switch (mnl_attr_get_type(attribute)) {
    case IFLA_IFNAME:
      link->name = mnl_attr_get_str(attribute);
      break;
    case IFLA_LINKINFO:
      return mnl_attr_parse_nested(attribute, read_kind, link);
    case IFLA_LINK_NETNSID:
      link->in_two_namespaces = true;
      break;
    default:
      break;
  }
  return MNL_CB_OK;
}

Link parse_link(const nlmsghdr& message) {
  const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
  Link link;
  link.index = info->ifi_index;
  link.flags = info->ifi_flags;
  mnl_attr_parse(&message, sizeof(ifinfomsg), read_attribute, &link);
  return link;
}

Result<std::set<int>> links_with_addresses(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETADDR, NLM_F_DUMP);
  mnl_nlmsg_put_extra_header(message, sizeof(ifaddrmsg));  // all zero: AF_UNSPEC, every link
  std::set<int> indexes;
  auto done = netlink.dump(request, "cannot list addresses", [&](const nlmsghdr& answer) {
    if (answer.nlmsg_type != RTM_NEWADDR) return;
    const auto* address = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&answer));
    indexes.insert(static_cast<int>(address->ifa_index));
  });
  if (!done) return Failure(done.error());
  return indexes;
}

}  // namespace

Result<std::vector<Link>> list_links() {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  return list_links(*netlink);
}

Result<std::vector<Link>> list_links(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETLINK, NLM_F_DUMP);
  mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
  std::vector<Link> links;
  auto done = netlink.dump(request, "cannot list links", [&](const nlmsghdr& answer) {
    if (answer.nlmsg_type == RTM_NEWLINK) links.push_back(parse_link(answer));
  });
  if (!done) return Failure(done.error());
  const auto addressed = links_with_addresses(netlink);
  if (!addressed) return Failure(addressed.error());
  for (Link& link : links) link.has_address = addressed->contains(link.index);
  return links;
}

bool is_idle_fallback_tunnel(const Link& link) {
  const bool known = std::any_of(
      fallback_tunnels.begin(), fallback_tunnels.end(),
      [&](const auto& tunnel) { return link.name == tunnel.first && link.kind == tunnel.second; });
  return known && (link.flags & IFF_UP) == 0 && !link.has_address && !link.in_two_namespaces;
}

Result<void> require_no_way_out(const std::vector<Link>& links) {
  bool has_loopback = false;
  for (const Link& link : links) {
    if ((link.flags & IFF_LOOPBACK) != 0) {
      has_loopback = true;
    } else if (!is_idle_fallback_tunnel(link)) {
      const std::string kind =
          link.kind.empty() ? "" : fmt::format(" ({})", text::printable(link.kind));
      return fail(
          Errc::not_permitted,
          fmt::format("the network namespace has the link '{}'{}: a way out beside the policy",
                      text::printable(link.name), kind),
          "start the container without a network (--network none), then attach again");
    }
  }
  if (!has_loopback) return fail(Errc::unavailable, "the network namespace has no loopback link");
  return {};
}

}  // namespace sluice::netns
