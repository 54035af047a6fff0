// The only route there is: every address of the world is local.
#pragma once

#include "base/error.h"

namespace sluice::netns {

// Brings lo up with a second address of each family and adds `local default dev lo` to table local,
// for IPv4 (preferred source 127.0.0.1) and, where the kernel has it, IPv6 (::1). Without a
// preferred source, source and destination would be equal, and a connect into the ephemeral range
// could meet itself (a simultaneous open, RFC 9293 3.5). Works on the calling thread's network
// namespace; needs CAP_NET_ADMIN over it.
Result<void> route_everything_to_loopback();

}  // namespace sluice::netns
