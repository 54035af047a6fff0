// Reads the head of an HTTP/1 response from an origin to the letter of RFC 9112.
#pragma once

#include <optional>
#include <string_view>

#include "proxy/wire/field.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// Views into the bytes it was parsed from.
struct ResponseHead : MessageHead {
  int status = 0;  // 100 … 599
  std::string_view reason;
};

// A response head at the front of `bytes`; nothing while more bytes are needed. `scanned`: see
// split_head(). Every error has reason `unreachable`: the policy allowed it, the origin did not
// deliver.
WireResult<std::optional<ResponseHead>> parse_response_head(std::string_view bytes,
                                                            const HeadLimits& limits,
                                                            std::size_t& scanned);

}  // namespace sluice::proxy::wire
