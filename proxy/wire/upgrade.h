// Knows which protocols a connection may leave HTTP for (RFC 9110 7.8), and which one it did.
#pragma once

#include <string>
#include <string_view>

#include "proxy/wire/body.h"
#include "proxy/wire/request_head.h"
#include "proxy/wire/response_head.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// The protocols that a request offers, as the value of the Upgrade field for the origin; empty
// where it offers none: without "Connection: upgrade", in HTTP/1.0, with a body or with
// "Connection: close". What would carry further requests, TLS or tunnels to hosts that nobody
// judges is left out (h2c, HTTP/2.0, TLS/1.0, connect-udp). bad_request: members that are no
// protocol, or more than 16.
WireResult<std::string> offered_protocols(const RequestHead& head, const BodyPlan& body);

// The protocol of a 101: the one member of its Upgrade field, as it stands in `offered`.
// unreachable: none or several, one that was not offered, HTTP/1.0, no "Connection: upgrade", a
// framing field (RFC 9110 8.6, RFC 9112 6.1).
WireResult<std::string_view> switched_protocol(const ResponseHead& head, std::string_view offered);

}  // namespace sluice::proxy::wire
