#include "netns/containers/chained_interface.h"

#include <fmt/core.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "netns/netlink.h"

namespace sluice::netns {
namespace {

constexpr std::size_t mac_bytes = 6;

std::string to_mac(const nlattr* attribute) {
  if (mnl_attr_get_payload_len(attribute) != mac_bytes) return "";
  const auto* bytes = static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute));
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2],
                     bytes[3], bytes[4], bytes[5]);
}

int read_kind(const nlattr* attribute, void* data) {
  if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND) {
    static_cast<PodInterface*>(data)->kind = mnl_attr_get_str(attribute);
  }
  return MNL_CB_OK;
}

int read_attribute(const nlattr* attribute, void* data) {
  auto* link = static_cast<PodInterface*>(data);
  switch (mnl_attr_get_type(attribute)) {
    case IFLA_IFNAME:
      link->name = mnl_attr_get_str(attribute);
      break;
    case IFLA_ADDRESS:
      link->mac = to_mac(attribute);
      break;
    case IFLA_LINK:
      link->peer = static_cast<int>(mnl_attr_get_u32(attribute));
      break;
    case IFLA_LINK_NETNSID:
      link->peer_network = static_cast<int>(mnl_attr_get_u32(attribute));
      break;
    case IFLA_LINKINFO:
      return mnl_attr_parse_nested(attribute, read_kind, link);
    default:
      break;
  }
  return MNL_CB_OK;
}

Result<std::vector<PodInterface>> list(Netlink& netlink) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETLINK, NLM_F_DUMP);
  mnl_nlmsg_put_extra_header(message, sizeof(ifinfomsg));
  std::vector<PodInterface> links;
  auto done = netlink.dump(request, "cannot list links", [&](const nlmsghdr& answer) {
    if (answer.nlmsg_type != RTM_NEWLINK) return;
    PodInterface link;
    link.peer_network = -1;
    link.index = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&answer))->ifi_index;
    mnl_attr_parse(&answer, sizeof(ifinfomsg), read_attribute, &link);
    links.push_back(std::move(link));
  });
  if (!done) return Failure(done.error());
  return links;
}

struct Found {
  std::optional<IpAddress> local;
  std::optional<IpAddress> address;
};

int read_address(const nlattr* attribute, void* data) {
  auto* found = static_cast<Found*>(data);
  const auto type = mnl_attr_get_type(attribute);
  if (type != IFA_LOCAL && type != IFA_ADDRESS) return MNL_CB_OK;
  std::optional<IpAddress>& here = type == IFA_LOCAL ? found->local : found->address;
  if (mnl_attr_get_payload_len(attribute) == 4) {
    std::uint32_t value = 0;
    std::memcpy(&value, mnl_attr_get_payload(attribute), sizeof(value));
    here = IpAddress::v4(__builtin_bswap32(value));
  } else if (mnl_attr_get_payload_len(attribute) == 16) {
    IpAddress::Bytes bytes{};
    std::memcpy(bytes.data(), mnl_attr_get_payload(attribute), bytes.size());
    here = IpAddress::v6(bytes);
  }
  return MNL_CB_OK;
}

Result<std::vector<InterfaceAddress>> addresses_of(Netlink& netlink, int index) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETADDR, NLM_F_DUMP);
  mnl_nlmsg_put_extra_header(message, sizeof(ifaddrmsg));
  std::vector<InterfaceAddress> addresses;
  auto done = netlink.dump(request, "cannot list addresses", [&](const nlmsghdr& answer) {
    if (answer.nlmsg_type != RTM_NEWADDR) return;
    const auto* info = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&answer));
    if (static_cast<int>(info->ifa_index) != index) return;
    Found found;
    mnl_attr_parse(&answer, sizeof(ifaddrmsg), read_address, &found);
    // IFA_ADDRESS is the other end's of a point-to-point link (linux/if_addr.h).
    const auto& own = found.local ? found.local : found.address;
    if (own) addresses.push_back({*own, info->ifa_prefixlen});
  });
  if (!done) return Failure(done.error());
  return addresses;
}

// What the calling thread's namespace calls the namespace behind `descriptor`; -1: nothing yet.
Result<int> network_id(Netlink& netlink, int descriptor) {
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETNSID, 0);
  auto* header = static_cast<rtgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(rtgenmsg)));
  header->rtgen_family = AF_UNSPEC;
  mnl_attr_put_u32(message, NETNSA_FD, static_cast<std::uint32_t>(descriptor));
  message->nlmsg_flags |= NLM_F_ACK;
  int id = -1;
  auto done = netlink.dump(request, "cannot compare namespaces", [&](const nlmsghdr& answer) {
    mnl_attr_parse(
        &answer, sizeof(rtgenmsg),
        [](const nlattr* attribute, void* data) {
          if (mnl_attr_get_type(attribute) == NETNSA_NSID) {
            *static_cast<int*>(data) = static_cast<int>(mnl_attr_get_u32(attribute));
          }
          return MNL_CB_OK;
        },
        &id);
  });
  if (!done) return Failure(done.error());
  return id;
}

}  // namespace

std::string encode(const PodInterface& pod) {
  nlohmann::json addresses = nlohmann::json::array();
  for (const InterfaceAddress& one : pod.addresses) {
    addresses.push_back({one.address.to_string(), one.length});
  }
  return nlohmann::json{{"index", pod.index},    {"name", pod.name},
                        {"kind", pod.kind},      {"mac", pod.mac},
                        {"peer", pod.peer},      {"peer_network", pod.peer_network},
                        {"addresses", addresses}}
      .dump();
}

Result<PodInterface> decode_pod_interface(std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    PodInterface pod{json.at("index"),
                     json.at("name"),
                     json.at("kind"),
                     json.at("mac"),
                     json.at("peer"),
                     json.at("peer_network"),
                     {}};
    for (const auto& one : json.at("addresses")) {
      const auto address = IpAddress::parse(one.at(0).get<std::string>());
      pod.addresses.push_back({address.value(), one.at(1)});
    }
    return pod;
  } catch (const std::exception& error) {
    return fail(Errc::bug, fmt::format("the description of an interface: {}", error.what()));
  }
}

bool is_plain_interface_name(std::string_view name) noexcept {
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  return plain && !name.empty() && name.size() < IF_NAMESIZE && name != "." && name != "..";
}

bool is_link_local(const IpAddress& address) noexcept {
  return !address.is_v4() && address.bytes()[0] == 0xfe && (address.bytes()[1] & 0xc0) == 0x80;
}

Result<PodInterface> find_pod_interface(const std::string& name) {
  const std::string shown = text::printable(name);
  if (!is_plain_interface_name(name)) {
    return fail(Errc::bad_config, fmt::format("the interface name '{}' is not plain", shown),
                "use letters, digits, '.', '_' and '-'");
  }
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  auto links = list(*netlink);
  if (!links) return Failure(links.error());
  const auto found = std::find_if(links->begin(), links->end(),
                                  [&](const PodInterface& link) { return link.name == name; });
  if (found == links->end()) {
    return fail(Errc::bad_config, fmt::format("the pod has no interface '{}'", shown),
                "the plugin before this one must make it");
  }
  auto addresses = addresses_of(*netlink, found->index);
  if (!addresses) return Failure(addresses.error());
  found->addresses = std::move(*addresses);
  const bool has_address =
      std::any_of(found->addresses.begin(), found->addresses.end(),
                  [](const InterfaceAddress& one) { return !is_link_local(one.address); });
  if (!has_address || found->mac.empty()) {
    return fail(Errc::bad_config,
                fmt::format("the interface '{}' has no {}", shown,
                            has_address ? "Ethernet address" : "IP address"),
                "chain sluice-netns behind the plugin that gives the pod its address");
  }
  return std::move(*found);
}

Result<std::optional<std::string>> find_other_end(const PodInterface& pod, int pod_network) {
  if (pod.kind != "veth" || pod.peer == 0 || pod.peer_network < 0) return std::nullopt;
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  const auto links = list(*netlink);
  if (!links) return Failure(links.error());
  const auto id = network_id(*netlink, pod_network);
  if (!id) return Failure(id.error());
  for (const PodInterface& link : *links) {
    const bool is_it = link.index == pod.peer && link.kind == "veth" && link.peer == pod.index &&
                       link.peer_network == *id && *id >= 0;
    if (is_it && is_plain_interface_name(link.name)) return std::optional(link.name);
  }
  return std::nullopt;
}

Result<bool> has_earlier_hook(const std::string& link) {
  const auto index = ::if_nametoindex(link.c_str());
  auto netlink = Netlink::open(NETLINK_ROUTE);
  if (!netlink) return Failure(netlink.error());
  NetlinkRequest request;
  nlmsghdr* message = request.start(RTM_GETQDISC, NLM_F_DUMP);
  mnl_nlmsg_put_extra_header(message, sizeof(tcmsg));
  bool found = false;
  auto done =
      netlink->dump(request, "cannot list queueing disciplines", [&](const nlmsghdr& answer) {
        const auto* info = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(&answer));
        if (answer.nlmsg_type != RTM_NEWQDISC || static_cast<unsigned>(info->tcm_ifindex) != index)
          return;
        mnl_attr_parse(
            &answer, sizeof(tcmsg),
            [](const nlattr* attribute, void* data) {
              if (mnl_attr_get_type(attribute) != TCA_KIND) return MNL_CB_OK;
              const std::string_view kind = mnl_attr_get_str(attribute);
              *static_cast<bool*>(data) |= kind == "ingress" || kind == "clsact";
              return MNL_CB_OK;
            },
            &found);
      });
  if (!done) return Failure(done.error());
  return found;
}

}  // namespace sluice::netns
