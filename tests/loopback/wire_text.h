// Texts of tests as bytes on the wire.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace sluice::proxy {

// \n is CRLF, \v a bare LF, \f a bare CR, @ the allowed host with its port, \a an @.
inline std::string wire_text(std::string_view text, std::uint16_t port) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '\n':
        out += "\r\n";
        break;
      case '\v':
        out += '\n';
        break;
      case '\f':
        out += '\r';
        break;
      case '\a':
        out += '@';
        break;
      case '@':
        out += fmt::format("allowed.test:{}", port);
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace sluice::proxy
