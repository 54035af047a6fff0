// sluiced as a whole: its threads, what they share, and how it ends.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "proxy/daemon/agents.h"
#include "proxy/daemon/enclose.h"
#include "proxy/daemon/listeners.h"
#include "proxy/daemon/peer_access.h"
#include "proxy/daemon/policy_edition.h"
#include "proxy/daemon/take_over.h"

namespace sluice::proxy {

// What main() gathered from the command line and the configuration; every file is open already.
struct ServerOrder {
  unsigned threads = 1;
  std::shared_ptr<const ResolverSettings> resolver;
  Config::Timeouts timeouts;
  Config::Limits limits;
  PolicyEdition policy;
  // null: no audit lines but what operators ask of late
  std::unique_ptr<metrics::AuditSink> audit;
  Fd admin_socket;   // Unix
  Fd admin_address;  // TCP: whoever can connect may know the metrics, but not the policy
  OwnListeners own_listeners;
  std::vector<ReadyListener> listeners;  // shared: explicit ones
  WayOut way_out;
  Fd handover_peer;      // embedded: the one supervisor; sluiced ends with it
  Fd handover_listener;  // shared: for many
  PeerAccess peer_access;
  // Embedded: entered before anything of an agent is read. A shared one takes a policy that
  // changes.
  std::optional<Enclosure> enclosure;
  std::string budget_file;  // shared: where used budgets are kept over a restart
  // Shared: what another sluiced hands over. Its listening sockets are among those above.
  std::optional<Inheritance> inheritance;
};

// Runs until SIGTERM, SIGINT or, embedded, until the supervisor is gone. Answers the exit status.
Result<int> run_server(ServerOrder order);

}  // namespace sluice::proxy
