// Listening Unix sockets of sluiced: made at a path, a dead one replaced, a live one respected.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::proxy {

// Binds and listens, non-blocking and close-on-exec. `type` is SOCK_STREAM or SOCK_SEQPACKET.
// Errors: a path longer than unix(7) allows, a socket that answers there already, a path that is no
// socket.
Result<Fd> listen_unix(const std::string& path, int type, mode_t mode);

// Connects to whoever listens at the path; close-on-exec, blocking. `patience` bounds the connect
// and each read and write after it; 0: as long as it takes.
Result<Fd> connect_unix(const std::string& path, int type, std::chrono::seconds patience = {});

}  // namespace sluice::proxy
