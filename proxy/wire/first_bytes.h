// Tells from an agent's first bytes what it speaks on a connection whose protocol nobody announced.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::proxy::wire {

enum class Speech : std::uint8_t {
  unknown_yet,  // a prefix of HTTP or of TLS so far, or nothing
  tls,          // a TLS handshake record begins: for ClientHelloReader
  http,         // a request line of HTTP/1.x, or a first line that could only be a broken one
  other,        // anything else: ssh, databases, binary protocols
};

// Final unless unknown_yet. HTTP is a registered method, white space, and a first line with
// "HTTP/" in it, also behind empty lines and blanks, which lenient origins skip; more than 8 KiB of
// those, or a first line of more than 8 KiB behind a method and a space, count as HTTP as well, so
// that nothing is too long to be judged as what the origin will read.
Speech classify(std::string_view first_bytes) noexcept;

}  // namespace sluice::proxy::wire
