// Reads the name and password in a Proxy-Authorization field (RFC 7617).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/wire/field.h"
#include "proxy/wire/secret.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// As they were presented: nothing is verified yet. Without control bytes; either may be "".
struct Credentials {
  std::string user;
  Secret password;
};

// Longest that are read, in bytes.
inline constexpr std::size_t longest_user = 256;
inline constexpr std::size_t longest_password = 1024;

struct ProxyAuthorization {
  enum class Kind : std::uint8_t {
    none,          // no such field
    other_scheme,  // well-formed so far, but not Basic: its parameters were not looked at
    basic,
  };
  Kind kind = Kind::none;
  Credentials credentials;  // for basic
};

// bad_request: more than one field, a scheme that is no token, no token68 behind "Basic", base64
// that is not canonical (RFC 4648 3.5) or lacks its padding, no colon, a control byte, a user-id or
// password above its limit. For Kind::none and other_scheme the answer is a 407 where a password is
// needed.
WireResult<ProxyAuthorization> read_proxy_authorization(const MessageHead& head);

// Whether a byte may stand in a user-id or password: anything but CTL (RFC 7617 2).
bool has_control_byte(std::string_view text) noexcept;

}  // namespace sluice::proxy::wire
