// Why what is promised of an agent network would not be true of somebody else's container.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::netns {

enum class Weakness : std::uint8_t {
  link,       // another link than lo and idle fallback tunnels
  net_admin,  // CAP_NET_ADMIN over its own network namespace, or a way to it
  vsock,      // nothing refuses it AF_VSOCK
};
std::string_view weakness_name(Weakness weakness) noexcept;
std::optional<Weakness> weakness_named(std::string_view word) noexcept;

struct Finding {
  Weakness weakness = Weakness::link;
  std::string why;  // a sentence: which process, what of it
};
// What no longer holds when it is accepted.
std::string_view withdrawal(Weakness weakness) noexcept;

// The user namespace that owns the network namespace, the one above it, and so on, as far as the
// caller may know them (ioctl_ns(2)).
std::vector<Fd> owners_of(int network_namespace);

// Looks at each process in the namespace. What cannot be found out is a finding. To be called where
// those processes can be looked at: as root, or in the user namespace that owns the network.
Result<std::vector<Finding>> judge_processes(int network_namespace, const std::vector<Fd>& owners);

}  // namespace sluice::netns
