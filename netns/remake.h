// New listeners in a namespace whose earlier ones were closed.
#pragma once

#include <vector>

#include "base/error.h"
#include "netns/handover.h"

namespace sluice::netns {

// The network namespace of a socket (SIOCGSKNS), to keep when the socket goes. Needs CAP_NET_ADMIN
// over it, as whoever made its user namespace has.
Result<Fd> namespace_of(int socket);

// open_listeners() in that namespace, by a child process that enters the user namespace it belongs
// to: the same set as there was. Blocks until the child has ended. The caller must have one thread
// only. Fails as long as anybody holds an earlier listener.
Result<std::vector<RoleSocket>> open_listeners_in(int network_namespace);
// open_port_listeners() in the same way.
Result<std::vector<RoleSocket>> open_port_listeners_in(int network_namespace,
                                                       const std::vector<std::uint16_t>& ports);

}  // namespace sluice::netns
