// Reads the head of an HTTP/1 request to the letter of RFC 9112, and the absolute form of a target.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/wire/field.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// Views into the bytes it was parsed from.
struct RequestHead : MessageHead {
  std::string_view method;  // a token, case kept: methods are case-sensitive
  std::string_view target;  // visible ASCII without '#'; its form is not yet judged
};

// A request head at the front of `bytes`; nothing while more bytes are needed. `scanned`: see
// split_head(). In HTTP/1.1 exactly one Host, in HTTP/1.0 at most one, that looks like an
// authority.
WireResult<std::optional<RequestHead>> parse_request_head(std::string_view bytes,
                                                          const HeadLimits& limits,
                                                          std::size_t& scanned);

// "http://host:port/path?query" (RFC 9112 3.2.2), in views of the target.
struct AbsoluteForm {
  std::string_view scheme;          // "http" in any case
  std::string_view authority;       // not empty, no userinfo: for Target::parse(authority, 80)
  std::string_view path_and_query;  // as sent: may be empty, or begin with '?'

  // The target for the origin: path and query as sent behind a "/", or "*" for an OPTIONS request
  // without path and query (RFC 9112 3.2.4).
  std::string origin_form(std::string_view method) const;
};

// What a request to a proxy must name, CONNECT apart (its target is Target::parse(target,
// nullopt)). scheme_not_allowed: another scheme than http. bad_request: origin-form, asterisk-form,
// userinfo.
WireResult<AbsoluteForm> parse_absolute_form(std::string_view target);

}  // namespace sluice::proxy::wire
