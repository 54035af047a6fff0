#include "netns/containers/chained_routes.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include <algorithm>

#include "base/io.h"
#include "netns/containers/chained_rules.h"
#include "netns/netlink.h"

namespace sluice::netns {
namespace {

// lo is the first device of every network namespace (net/core/net_namespace.c, LOOPBACK_IFINDEX).
constexpr std::uint32_t loopback_index = 1;
constexpr std::uint32_t own_table = 7361;
constexpr std::uint32_t capture_table_id = 7362;

constexpr IpAddress any4 = IpAddress::v4(0);
constexpr IpAddress any6 = IpAddress::v6({});
constexpr IpAddress loopback4 = IpAddress::v4(0x7f000001);
constexpr IpAddress loopback6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
constexpr Cidr link_local6{IpAddress::v6({0xfe, 0x80}), 10};
constexpr Cidr multicast6{IpAddress::v6({0xff}), 8};

unsigned char family_of(const IpAddress& address) { return address.is_v4() ? AF_INET : AF_INET6; }
std::size_t size_of(const IpAddress& address) { return address.is_v4() ? 4 : 16; }

struct Route {
  std::uint32_t table;
  Cidr to;
  unsigned char type = RTN_LOCAL;
  IpAddress source;  // of RTN_LOCAL
};

Result<void> add_route(Netlink& netlink, const Route& route) {
  const IpAddress& to = route.to.network;
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_NEWROUTE, 0);
  auto* header = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(rtmsg)));
  header->rtm_family = family_of(to);
  header->rtm_dst_len = route.to.length;
  header->rtm_table = RT_TABLE_UNSPEC;
  header->rtm_protocol = RTPROT_STATIC;
  header->rtm_type = route.type;
  header->rtm_scope = route.type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  mnl_attr_put_u32(message, RTA_TABLE, route.table);
  if (route.to.length > 0) mnl_attr_put(message, RTA_DST, size_of(to), to.bytes().data());
  if (route.type == RTN_LOCAL) {
    mnl_attr_put_u32(message, RTA_OIF, loopback_index);
    mnl_attr_put(message, RTA_PREFSRC, size_of(to), route.source.bytes().data());
  }
  return netlink.add(request, fmt::format("cannot add the route '{}' to table {}",
                                          route.to.to_string(), route.table));
}

struct Rule {
  std::uint32_t priority;
  std::uint32_t table;
  std::uint32_t mark = 0;  // 0: any
  std::string tcp_on;      // not empty: refuses TCP of sockets that are bound to this interface
};

Result<void> change_rule(Netlink& netlink, std::uint16_t type, unsigned char family,
                         const Rule& rule) {
  NetlinkRequest request;
  const bool adds = type == RTM_NEWRULE;
  nlmsghdr* message = request.start(type, 0);
  auto* header =
      static_cast<fib_rule_hdr*>(mnl_nlmsg_put_extra_header(message, sizeof(fib_rule_hdr)));
  header->family = family;
  header->action = rule.tcp_on.empty() ? FR_ACT_TO_TBL : FR_ACT_PROHIBIT;
  mnl_attr_put_u32(message, FRA_PRIORITY, rule.priority);
  if (rule.tcp_on.empty()) {
    mnl_attr_put_u32(message, FRA_TABLE, rule.table);
  } else {
    mnl_attr_put_strz(message, FRA_OIFNAME, rule.tcp_on.c_str());
    mnl_attr_put_u8(message, FRA_IP_PROTO, IPPROTO_TCP);
  }
  if (rule.mark != 0) {
    mnl_attr_put_u32(message, FRA_FWMARK, rule.mark);
    mnl_attr_put_u32(message, FRA_FWMASK, 0xffffffff);
  }
  const std::string what =
      fmt::format("cannot {} the routing rule {}", adds ? "add" : "remove", rule.priority);
  return adds ? netlink.add(request, what) : netlink.remove(request, what);
}

// Table local goes from 0 to 200 in the end only: at no time is there none before table main.
Result<void> add_rules(Netlink& netlink, unsigned char family, const std::string& interface) {
  std::vector<Rule> rules{{10, own_table},
                          {100, RT_TABLE_MAIN, answer_mark},
                          {150, capture_table_id},
                          {200, RT_TABLE_LOCAL}};
  // The reset that refuses it comes in on lo, where IPv6 does not find a socket that is bound to
  // another interface: it would wait.
  if (family == AF_INET6) rules.push_back({160, 0, 0, interface});
  for (const Rule& rule : rules) {
    if (auto added = change_rule(netlink, RTM_NEWRULE, family, rule); !added) return added;
  }
  return change_rule(netlink, RTM_DELRULE, family, {0, RT_TABLE_LOCAL, 0, ""});
}

Result<void> add_version(Netlink& netlink, const std::vector<IpAddress>& own,
                         const std::string& interface) {
  const bool v4 = own.front().is_v4();
  const auto all_bits = static_cast<std::uint8_t>(v4 ? 32 : 128);
  std::vector<Route> routes{
      v4 ? Route{own_table, {IpAddress::v4(0x7f000000), 8}, RTN_LOCAL, loopback4}
         : Route{own_table, {loopback6, 128}, RTN_LOCAL, loopback6},
      Route{capture_table_id, {v4 ? any4 : any6, 0}, RTN_LOCAL, own.front()}};
  if (!v4) {
    // Of the link they are on: table local and main know them.
    routes.push_back({capture_table_id, link_local6, RTN_THROW, {}});
    routes.push_back({capture_table_id, multicast6, RTN_THROW, {}});
  }
  for (const IpAddress& address : own) {
    routes.push_back({own_table, {address, all_bits}, RTN_LOCAL, address});
  }
  for (const Route& route : routes) {
    if (auto added = add_route(netlink, route); !added) return added;
  }
  return add_rules(netlink, family_of(own.front()), interface);
}

Result<void> set_sysctls(const PodInterface& pod) {
  const std::string conf = fmt::format("/proc/sys/net/ipv4/conf/{}/", pod.name);
  return write_file("/proc/sys/net/ipv4/tcp_fwmark_accept", "1")
      .and_then([&] { return write_file(conf + "accept_local", "1"); })
      .and_then([&] { return write_file(conf + "rp_filter", "2"); });
}

struct Question {
  IpAddress to;
  const char* text;
};

Result<void> require_local(Netlink& netlink, const Question& question) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETROUTE, NLM_F_ACK);
  auto* header = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(rtmsg)));
  header->rtm_family = family_of(question.to);
  header->rtm_dst_len = static_cast<unsigned char>(size_of(question.to) * 8);
  mnl_attr_put(message, RTA_DST, size_of(question.to), question.to.bytes().data());
  unsigned char type = RTN_UNSPEC;
  auto asked = netlink.dump(request, "cannot ask for a route", [&](const nlmsghdr& answer) {
    if (answer.nlmsg_type != RTM_NEWROUTE) return;
    type = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&answer))->rtm_type;
  });
  if (asked && type == RTN_LOCAL) return {};
  return fail(Errc::not_permitted,
              fmt::format("a connection to {} would not go to the proxy", question.text),
              "the routes of the network namespace were changed: make the container anew");
}

}  // namespace

Result<void> route_answers(const PodInterface& pod) {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  if (auto set = set_sysctls(pod); !set) return set;
  for (const bool v4 : {true, false}) {
    std::vector<IpAddress> own;
    for (const InterfaceAddress& one : pod.addresses) {
      if (one.address.is_v4() == v4 && !is_link_local(one.address)) own.push_back(one.address);
    }
    if (own.empty()) continue;
    if (auto added = add_version(*netlink, own, pod.name); !added) return added;
  }
  return {};
}

Result<void> require_routes_to_loopback() {
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  // RFC 5737 and RFC 3849: addresses of documentation, which are nobody's.
  const Question v4{IpAddress::v4(0xcb007101), "203.0.113.1"};
  const Question v6{IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}),
                    "2001:db8::1"};
  return require_local(*netlink, v4).and_then([&] { return require_local(*netlink, v6); });
}

}  // namespace sluice::netns
