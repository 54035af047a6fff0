// Makes the network of one agent inside a fresh namespace: capture rules, the only route, the
// listeners.
#pragma once

#include <vector>

#include "base/error.h"
#include "netns/handover.h"

namespace sluice::netns {

// Works on the calling thread's network namespace, which must be fresh (no link but lo and the
// kernel's unconfigured fallback tunnels) and over which the caller has CAP_NET_ADMIN. In this
// order: refuse a namespace that has another link; capture rules; lo up and the only route;
// listeners; then a check of itself (a connect() to a literal address must arrive on the tproxy
// listener). The first step that fails is the error, and the namespace must then be thrown away.
// Also sets, through /proc/sys if it is writable for the caller,
// net.ipv4.ip_unprivileged_port_start=0, so that the agent may serve on any port of its own
// loopback.
//
// Where the kernel has no IPv6 there is no tproxy6 among the answer. Where it has no nf_tables
// there is no tproxy listener at all: is_captured() tells, and a `port` listener for each port of
// the policy (open_port_listeners()) must take their place. All addresses are local then as well,
// so the kernel itself refuses every other port; but it answers ping, and a server of the agent's
// own on 0.0.0.0 answers for every address.
Result<std::vector<RoleSocket>> build_agent_network();

// The last of those steps, for a network that was made in another way.
Result<void> prove_agent_network(const std::vector<RoleSocket>& sockets);

// Whether connections to every port of every address arrive on these listeners.
bool is_captured(const std::vector<RoleSocket>& sockets);

}  // namespace sluice::netns
