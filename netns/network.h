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
Result<std::vector<RoleSocket>> build_agent_network();

}  // namespace sluice::netns
