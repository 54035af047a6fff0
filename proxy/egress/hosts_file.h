// The names of hosts(5): read once, asked before DNS.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ip_address.h"

namespace sluice::proxy {

class HostsFile {
 public:
  HostsFile() = default;
  // Lines that are not "ADDRESS NAME…" are skipped, as every resolver does.
  static HostsFile parse(std::string_view text);

  // Addresses in file order; empty when the (canonical) name is not listed.
  const std::vector<IpAddress>& find(std::string_view name) const noexcept;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, std::vector<IpAddress>, Hash, std::equal_to<>> names_;
};

// The addresses of resolv.conf(5)'s nameserver lines, in order; 127.0.0.1 when there is none, as
// resolv.conf(5) says.
std::vector<IpAddress> parse_resolv_conf(std::string_view text);

}  // namespace sluice::proxy
