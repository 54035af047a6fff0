// Asks an upstream proxy for a tunnel (RFC 9110 9.3.6) on a connection to it.
#pragma once

#include <string>
#include <string_view>

#include "base/reason.h"
#include "proxy/net.h"

namespace sluice::proxy {

struct UpstreamProxy;

// What the upstream proxy made of a CONNECT.
struct TunnelAnswer {
  bool stands = false;
  bool is_final = false;  // the next address would be answered no better: our credentials are wrong
  Reason reason = Reason::unreachable;  // for !stands: unreachable or connect_timeout
  std::string why;                      // for !stands
};

// "CONNECT 192.0.2.1:443 HTTP/1.1 …" with the credentials; `authority` is its target.
std::string connect_request(const UpstreamProxy& upstream, std::string_view authority);

// What a final status says.
TunnelAnswer tunnel_answer(int status);

// Sends `request` and reads the head of the answer, and no byte behind it: what the origin says
// first stays in the socket. At most 16 KiB, 128 fields and 8 interim answers. Sets no deadline:
// closing the socket ends it.
Task<TunnelAnswer> ask_for_tunnel(Socket& socket, std::string request);

}  // namespace sluice::proxy
