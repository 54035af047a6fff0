#include "netns/capture.h"

#include <fmt/core.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string_view>

#include "netns/netlink.h"
#include "netns/nft.h"

namespace sluice::netns {
namespace {

constexpr const char* kernel_hint =
    "the kernel needs CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY, "
    "CONFIG_NFT_OBJREF and CONFIG_NFT_REJECT_INET (5.9 or newer); as modules: modprobe -a "
    "nf_tables "
    "nft_tproxy nft_objref nft_reject_inet";

constexpr const char* what = "cannot load the capture rules";

nfgenmsg* start(NetlinkRequest& request, std::uint16_t message_type) {
  nlmsghdr* message =
      request.start(static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | message_type), 0);
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  family->version = NFNETLINK_V0;
  return family;
}

// Nothing where the kernel has no such sockets (CONFIG_NETFILTER_NETLINK).
Result<std::optional<Netlink>> open_netfilter() {
  const Fd probe(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!probe && errno == EPROTONOSUPPORT) return std::nullopt;
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return Failure(netlink.error());
  return std::optional<Netlink>(std::move(*netlink));
}

// True, or false when the kernel answered `no`.
Result<bool> ask(NetlinkRequest& request, int no) {
  auto netlink = open_netfilter();
  if (!netlink) return Failure(netlink.error());
  if (!*netlink) return false;
  auto answered = (*netlink)->change(request, what);
  if (answered) return true;
  if ((*netlink)->error_number() == no) return false;
  return Failure(answered.error());
}

}  // namespace

std::string capture_rules(IpVersions versions) {
  const bool both = versions == IpVersions::both;
  const std::string to4 = to_string(role_endpoint(Role::tproxy4));
  const std::string to6 = to_string(role_endpoint(Role::tproxy6));
  const std::string table = fmt::format("{} {}", both ? "inet" : "ip", capture_table);
  const std::string rule = fmt::format("add rule {} capture ", table);
  std::string rules = fmt::format(
      "add table {0}\ndelete table {0}\n"  // `destroy` is of Linux 6.3
      "create table {0}\n"
      "create counter {0} {1}\n"
      "create chain {0} capture {{ type filter hook prerouting priority mangle; policy accept; "
      "}}\n",
      table, refused_udp_counter);
  const auto add = [&](std::string_view text) { rules += fmt::format("{}{}\n", rule, text); };
  add("ip daddr 127.0.0.0/8 accept");
  if (both) add("ip6 daddr ::1 accept");
  add("tcp dport 53 accept");
  // An answer goes to whatever address the agent has bound. Nobody but the DNS listener has
  // port 53.
  add("udp dport 53 accept");
  add("udp sport 53 accept");
  add(fmt::format("meta l4proto udp counter name {} reject with {} type port-unreachable",
                  refused_udp_counter, both ? "icmpx" : "icmp"));
  add(fmt::format("{}meta l4proto tcp tproxy ip to {} accept", both ? "meta nfproto ipv4 " : "",
                  to4));
  if (both) add(fmt::format("meta nfproto ipv6 meta l4proto tcp tproxy ip6 to {} accept", to6));
  // tproxy lets pass what it finds no listener for: a server of the agent's own on 0.0.0.0 would
  // then answer for every address. Only the first packet: the agent may bind any source address,
  // and the answers to it come by here as well.
  add("tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset");
  add("icmp type echo-request reject with icmp type admin-prohibited");
  if (both) add("icmpv6 type echo-request reject with icmpv6 type admin-prohibited");
  return rules;
}

Result<bool> has_nf_tables() {
  NetlinkRequest request;
  start(request, NFT_MSG_GETGEN);
  // EINVAL, after the kernel has tried to load the module (net/netfilter/nfnetlink.c).
  return ask(request, EINVAL);
}

Result<bool> has_capture_rules() {
  NetlinkRequest request;
  start(request, NFT_MSG_GETTABLE)->nfgen_family =
      ip_versions() == IpVersions::both ? NFPROTO_INET : NFPROTO_IPV4;
  mnl_attr_put_strz(request.header(), NFTA_TABLE_NAME, capture_table);
  auto available = has_nf_tables();
  if (!available || !*available) return available;
  return ask(request, ENOENT);
}

Result<void> load_capture_rules() {
  const auto available = has_nf_tables();
  if (!available) return Failure(available.error());
  if (!*available) return fail(Errc::unavailable, "the kernel has no nf_tables", kernel_hint);
  return run_nft(capture_rules(ip_versions()), what, kernel_hint).map([](const std::string&) {});
}

}  // namespace sluice::netns
