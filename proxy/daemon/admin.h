// What operators and Prometheus ask over HTTP: /metrics, /healthz, /readyz and, of operators only,
// /api/v1/policy.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "metrics/registry.h"
#include "proxy/daemon/entrance.h"
#include "proxy/daemon/scribe.h"
#include "proxy/net.h"

namespace sluice::proxy {

// What a listener answers from; lives as long as it is served.
struct AdminPages {
  const metrics::Registry& registry;
  // The JSON of /api/v1/policy; none: not there.
  std::function<std::string()> policy;
  // Writes /metrics; null: whoever is asked writes it.
  Scribe* scribe = nullptr;
};

// The whole response to a request of these bytes' head; pure.
std::string admin_response(std::string_view method, std::string_view target,
                           const AdminPages& pages);

// Serves a listening stream socket (Unix or TCP), one request a connection, at most 64 at a time.
Task<void> serve_admin(asio::io_context& io, AdminPages pages, Entrance& entrance);

// A listening TCP socket for it.
Result<Fd> listen_admin(const IpAddress& address, std::uint16_t port);

}  // namespace sluice::proxy
