// Connects one socket to one address: the only place that does.
#pragma once

#include <functional>
#include <string>

#include "proxy/daemon/config.h"
#include "proxy/net.h"

namespace sluice::proxy {

// How connections leave this machine.
struct Leaving {
  const Config::Egress* by = nullptr;  // source and mark; null: as the kernel chooses
  // Asked once where descriptors are used up: whether it closed some. Null: nobody can.
  const std::function<bool()>* make_room = nullptr;
};

// What became of a connect(2) so far.
struct Connecting {
  bool stands = false;
  ErrorCode error;     // it failed
  std::string unsent;  // not empty: it failed for a reason of our own configuration

  bool has_failed() const noexcept { return error || !unsent.empty(); }
};

// Opens `socket`, non-blocking, and begins to connect it. Where it neither stands nor has failed:
// it is under way, and settle() tells more when the socket is writable.
Connecting begin_to_connect(Socket& socket, const TcpEndpoint& to, const Leaving& leaving);
Connecting settle(Socket& socket) noexcept;

}  // namespace sluice::proxy
