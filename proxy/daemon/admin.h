// What operators and Prometheus ask over HTTP: /metrics, /healthz, /readyz and, of operators only,
// /api/v1.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "metrics/recent.h"
#include "metrics/registry.h"
#include "proxy/daemon/agent_account.h"
#include "proxy/daemon/entrance.h"
#include "proxy/daemon/scribe.h"
#include "proxy/net.h"

namespace sluice::proxy {

// What a listener answers from; lives as long as it is served.
struct AdminPages {
  const metrics::Registry& registry;
  // Of operators only: names and hosts of agents are in it. All of it is there, or none.
  struct Operators {
    std::function<std::string()> policy;  // the JSON of /api/v1/policy
    std::function<std::vector<AgentAccount>()> agents;
    const metrics::Recent* recent = nullptr;
  } operators{};
  // Writes /metrics; null: whoever is asked writes it.
  Scribe* scribe = nullptr;

  bool has_api() const noexcept { return operators.recent != nullptr; }
};

// The whole response to a request of these bytes' head; pure. Errors are JSON: "error" and "hint".
std::string admin_response(std::string_view method, std::string_view target,
                           const AdminPages& pages);

// Serves a listening stream socket (Unix or TCP), one request a connection, at most 64 at a time,
// 16 of them event streams.
Task<void> serve_admin(asio::io_context& io, AdminPages pages, Entrance& entrance);

// A listening TCP socket for it.
Result<Fd> listen_admin(const IpAddress& address, std::uint16_t port);

}  // namespace sluice::proxy
