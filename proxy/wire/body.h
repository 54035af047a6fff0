// Knows where an HTTP/1 body ends (RFC 9112 6), so that no byte of it is read as the next message.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "proxy/wire/request_head.h"
#include "proxy/wire/response_head.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

enum class Framing : std::uint8_t {
  none,         // no body at all
  length,       // `length` bytes, perhaps 0
  chunked,      // see ChunkedReader
  until_close,  // responses only: the end of the connection is the end of the body
};

struct BodyPlan {
  Framing framing = Framing::none;
  std::uint64_t length = 0;  // for Framing::length

  friend bool operator==(const BodyPlan&, const BodyPlan&) = default;
};

// bad_request: Content-Length together with Transfer-Encoding, Content-Length twice or as a list or
// not a plain number, Transfer-Encoding other than one "chunked", Transfer-Encoding in HTTP/1.0.
WireResult<BodyPlan> request_body(const RequestHead& head);

// As above with reason `unreachable`, except that a Content-Length repeated with one and the same
// value counts once (RFC 9112 6.3). No body for HEAD, 1xx, 204, 304 and a 2xx to CONNECT.
WireResult<BodyPlan> response_body(std::string_view request_method, const ResponseHead& head);

// The length that every Content-Length of a response gives; nothing if there is none or they
// disagree or one is not a plain number. Tells of a HEAD response what a GET would have carried.
std::optional<std::uint64_t> content_length(const ResponseHead& head) noexcept;

}  // namespace sluice::proxy::wire
