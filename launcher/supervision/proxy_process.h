// Starts an embedded sluiced, or connects to the machine's shared one.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "allowlists/amend.h"
#include "allowlists/load.h"
#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

struct ProxyStart {
  std::string program;
  std::vector<allowlists::Source> policy;
  allowlists::Amendment amendment;
  int admin = -1;  // listening socket
  int audit = -1;
  std::optional<uid_t> as_uid;  // for a root caller
};

struct ProxyProcess {
  pid_t pid = -1;
  Fd handover;  // ours, non-blocking
  Fd log;       // what it says on stdout and stderr, non-blocking
};

// The child hears nothing of the person's terminal and sees nothing of the person's environment but
// PATH. It ends with the calling thread. `started` before the agent exists; an exec failure shows
// as its end.
Result<ProxyProcess> start_proxy(const ProxyStart& start);

// Non-blocking. Refused, absent, or too busy to accept: an error that names the socket.
Result<Fd> connect_proxy(const std::string& socket_path);

}  // namespace sluice::launcher
