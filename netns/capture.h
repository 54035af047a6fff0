// The capture rules: what the agent's own kernel does with a packet before any socket sees it.
#pragma once

#include <string>

#include "base/error.h"
#include "netns/sockets.h"

namespace sluice::netns {

// Where the rules are: a table of family inet, or ip where the kernel has no IPv6.
inline constexpr const char* capture_table = "sluice";
// The named counter of the datagrams that were refused.
inline constexpr const char* refused_udp_counter = "refused_udp";

// The rules as nft(8) reads them. In order: loopback addresses are the agent's own and stay
// untouched; TCP and UDP 53 go to the DNS listeners, whose answers pass; every other TCP connection
// goes to the tproxy listeners, and is reset when they are gone; every other datagram is counted
// and refused at once (ICMP port unreachable, ECONNREFUSED), so that a server of the agent's own on
// 0.0.0.0 does not answer for every address; ping is refused, for the agent's own kernel would
// answer it.
std::string capture_rules(IpVersions versions = IpVersions::both);

// Whether the kernel can load any (CONFIG_NF_TABLES). Errors: what needs CAP_NET_ADMIN is not
// permitted.
Result<bool> has_nf_tables();
// Whether the calling thread's network namespace has them.
Result<bool> has_capture_rules();

// Loads them into the calling thread's network namespace, all or nothing, in place of what a killed
// command may have left; needs CAP_NET_ADMIN over it. Load them before lo is up: until then no
// packet can travel.
Result<void> load_capture_rules();

}  // namespace sluice::netns
