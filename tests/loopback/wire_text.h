// Texts of tests as bytes on the wire.
#pragma once

#include <fmt/core.h>

#include <regex>
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

// What sluice says of the time is not the same in each run.
inline std::string without_time(const std::string& bytes) {
  static const std::regex date(
      "\r\nDate: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} 2[0-9]{3} [0-9:]{8} GMT\r");
  return std::regex_replace(bytes, date, "\r\nDate: now\r");
}

}  // namespace sluice::proxy
