// Writes the head that goes to the next hop: nothing of ours or of this hop is carried along.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/host.h"
#include "proxy/wire/body.h"
#include "proxy/wire/reply.h"
#include "proxy/wire/request_head.h"
#include "proxy/wire/response_head.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// References live as long as the call.
struct ForwardedRequest {
  const RequestHead& head;
  const allowlists::Target& target;  // where it is dialled: the only source of the Host field
  std::string_view origin_form;  // AbsoluteForm::origin_form(), or an origin-form target as sent
  BodyPlan body;                 // request_body(head)
  std::string_view loop_token;   // of this process: letters and digits, the same for every request
  KeepAlive keep_alive = KeepAlive::yes;  // no: tell the origin that this is the last request
  std::string_view upgrade = {};          // offered_protocols(head), or empty to offer none
};

// The request as HTTP/1.1 in origin-form: Host from the target, fields of this hop (RFC 9110 7.6.1)
// and credentials for us dropped, framing from `body`, Via appended, Max-Forwards of OPTIONS
// counted down, "TE: trailers" said again. proxy_loop: our own Via is in it. bad_request: TRACE and
// CONNECT, Max-Forwards at 0 or not a number, Connection naming Host, a framing field, Via or
// Max-Forwards.
WireResult<std::string> forward_request_head(const ForwardedRequest& request);

// How many more hops an OPTIONS request may go, 0: none (RFC 9110 7.6.2). Nothing: it does not say,
// or its method does not count hops. bad_request: not one number.
WireResult<std::optional<std::uint32_t>> max_forwards(const RequestHead& head);

// What a message's Connection fields name: of this hop only, in its trailers as well. For a head
// that was forwarded.
std::vector<std::string> hop_names(const MessageHead& head);

struct ForwardedResponse {
  const ResponseHead& head;
  std::string_view request_method;
  BodyPlan
      body;  // as it is sent to the agent: for one that speaks HTTP/1.0, until_close for chunked
  std::string_view offered = {};  // ForwardedRequest::upgrade
  // http_date() of now, for a final response that has no Date (RFC 9110 6.6.1); empty: none.
  std::string_view date = {};
};

// The response as HTTP/1.1, fields of this hop dropped, framing from `body`, Via appended. A body
// until_close is never kept alive. unreachable: a 101 that switched_protocol() refuses.
WireResult<std::string> forward_response_head(const ForwardedResponse& response,
                                              KeepAlive keep_alive);

}  // namespace sluice::proxy::wire
