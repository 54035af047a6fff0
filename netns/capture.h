// The capture rules: what the agent's own kernel does with a packet before any socket sees it.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::netns {

// The rules as nft(8) reads them. In order: loopback addresses are the agent's own and stay
// untouched; TCP 53 goes to the DNS listener; every other TCP connection goes to the tproxy
// listeners, and is reset when they are gone; ping is refused, for the agent's own kernel would
// answer it. Other UDP finds no socket and is refused by the kernel itself (ICMP port unreachable,
// ECONNREFUSED).
std::string capture_rules();

// Loads them into the calling thread's network namespace, all or nothing; needs CAP_NET_ADMIN over
// it. Load them before lo is up: until then no packet can travel.
Result<void> load_capture_rules();

}  // namespace sluice::netns
