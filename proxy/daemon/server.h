// sluiced as a whole: its threads, what they share, and how it ends.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "allowlists/load.h"
#include "proxy/daemon/agents.h"
#include "proxy/daemon/enclose.h"

namespace sluice::proxy {

// What main() gathered from the command line and the configuration; every file is open already.
struct ServerOrder {
  unsigned threads = 1;
  std::shared_ptr<const ResolverSettings> resolver;
  Config::Timeouts timeouts;
  std::shared_ptr<const allowlists::Policy> policy;
  Fd audit;  // none: no audit lines
  std::vector<Fd> admin_listeners;
  OwnListeners own_listeners;
  Fd handover_peer;                    // embedded: the one supervisor; sluiced ends with it
  Fd handover_listener;                // shared: for many
  std::optional<Enclosure> enclosure;  // embedded: entered before anything of an agent is read
  std::string policy_path;             // shared: read again on SIGHUP
};

// Runs until SIGTERM, SIGINT or, embedded, until the supervisor is gone. Answers the exit status.
Result<int> run_server(ServerOrder order);

}  // namespace sluice::proxy
