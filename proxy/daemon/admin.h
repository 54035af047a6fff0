// What operators and Prometheus ask: /metrics, /healthz and /readyz over HTTP.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "metrics/registry.h"
#include "proxy/net.h"

namespace sluice::proxy {

// The whole response to a request of these bytes' head; pure.
std::string admin_response(std::string_view method, std::string_view target,
                           const metrics::Registry& registry);

// Serves a listening stream socket (Unix or TCP), one request a connection, at most 64 at a time.
Task<void> serve_admin(asio::io_context& io, const metrics::Registry& registry, Fd listener);

// A listening TCP socket for it.
Result<Fd> listen_admin(const IpAddress& address, std::uint16_t port);

}  // namespace sluice::proxy
