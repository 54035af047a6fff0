// The routes of a pod with an interface of its own: to it go the answers, to lo goes all else.
#pragma once

#include "base/error.h"
#include "netns/containers/chained_interface.h"

namespace sluice::netns {

// After route_everything_to_loopback(), in the same namespace. For each IP version of which the
// interface has an address:
//    10: the pod's own addresses, and loopback
//   100: what is marked as an answer: the routes that the plugin before us made (table main)
//   150: everything is local, on lo, with the pod's first address as the source: so a datagram of a
//        server on 0.0.0.0 is known for an answer before it is routed again
//   160: IPv6: TCP of a socket that is bound to the interface is refused, except for answers
//   200: table local, which the kernel had at 0
// Sets tcp_fwmark_accept for the namespace (an answer gets the interface's MTU from its first
// packet on), and accept_local and rp_filter=2 for the interface: the way back to every outside
// address leads over lo, and the kernel would take all that comes in for forged. Needs
// CAP_NET_ADMIN over the namespace, and a /proc/sys that can be written.
Result<void> route_answers(const PodInterface& pod);

// Asks the kernel where a new connection would go: an error when that is not lo.
Result<void> require_routes_to_loopback();

}  // namespace sluice::netns
