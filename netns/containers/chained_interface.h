// The interface that another CNI plugin has put into a pod's network namespace, and its other end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip_address.h"

namespace sluice::netns {

struct InterfaceAddress {
  IpAddress address;
  std::uint8_t length = 0;  // of its network's prefix
  friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

struct PodInterface {
  int index = 0;
  std::string name;
  std::string kind;      // IFLA_INFO_KIND: "veth", "macvlan"
  std::string mac;       // "02:00:00:00:00:01"
  int peer = 0;          // of a veth: the index of its other end, in the namespace that it is in
  int peer_network = 0;  // NETNSA_NSID of that namespace, as this one counts; -1: this one
  std::vector<InterfaceAddress> addresses;
  friend bool operator==(const PodInterface&, const PodInterface&) = default;
};
// From one process to another.
std::string encode(const PodInterface& pod);
Result<PodInterface> decode_pod_interface(std::string_view text);

// Whether a name can stand in a rule as it is: 1 to 15 letters, digits, '.', '_', '-'.
bool is_plain_interface_name(std::string_view name) noexcept;
bool is_link_local(const IpAddress& address) noexcept;

// The interface of that name in the calling thread's network namespace. None, one without an
// address or a MAC address, or one whose name cannot stand in a rule, is an error.
Result<PodInterface> find_pod_interface(const std::string& name);

// The name of `pod`'s other end, when that is a link of the calling thread's network namespace;
// `pod_network` is a descriptor of the pod's. Believed only when each of both ends names the other.
Result<std::optional<std::string>> find_other_end(const PodInterface& pod, int pod_network);

// Whether a queueing discipline of tc(8) takes packets from that link before netfilter sees them
// (kinds ingress and clsact), in the calling thread's network namespace.
Result<bool> has_earlier_hook(const std::string& link);

}  // namespace sluice::netns
