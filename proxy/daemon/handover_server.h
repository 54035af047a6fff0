// Speaks the handover protocol with supervisors: registers their agents, and ends them with the
// connection.
#pragma once

#include <memory>

#include "proxy/daemon/agents.h"

namespace sluice::proxy {

// Serves one connected peer on the control thread until it closes or breaks the protocol.
Task<void> serve_peer(asio::io_context& io, Agents& agents, Fd socket);

// Accepts peers on a listening SOCK_SEQPACKET Unix socket; only root and sluiced's own user may
// hand over (SO_PEERCRED, unix(7)).
Task<void> accept_peers(asio::io_context& io, Agents& agents, Fd listener);

// A listening handover socket at `path`. A dead one is replaced; a live one is an error.
Result<Fd> listen_for_peers(const std::string& path);

}  // namespace sluice::proxy
