// Whether what a peer handed over is one agent's network, and whose namespace it is.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "netns/handover.h"

namespace sluice::proxy {

struct SocketSet {
  std::uint64_t netns_cookie = 0;
  bool has_capture = true;           // the kernel delivers every connection to the tproxy listeners
  std::vector<std::uint16_t> ports;  // of its `port` listeners, sorted
};

// Each socket is what its role says (netns::verify_socket), all are of one network namespace that
// is not sluiced's own, and together they are one of: each role but `port` once; the same without
// tproxy6, of a kernel without IPv6; or dns_udp, dns_tcp and proxy with any number of `port`, each
// port once, of a kernel without nf_tables.
Result<SocketSet> check_network(const std::vector<netns::RoleSocket>& sockets);

// More `port` listeners of the network `of`; answers all its ports with theirs, sorted.
Result<std::vector<std::uint16_t>> check_more_ports(const SocketSet& of,
                                                    const std::vector<netns::RoleSocket>& sockets);

}  // namespace sluice::proxy
