#include "proxy/wire/first_bytes.h"

#include <algorithm>
#include <array>

namespace sluice::proxy::wire {
namespace {

constexpr std::size_t longest_first_line = 8192;

// The methods that programs use (IANA HTTP Method Registry), and the first word of HTTP/2's
// preface.
constexpr std::array<std::string_view, 22> methods = {
    "GET",     "HEAD",   "POST",       "PUT",       "DELETE", "OPTIONS", "PATCH", "TRACE",
    "CONNECT", "PRI",    "PROPFIND",   "PROPPATCH", "MKCOL",  "COPY",    "MOVE",  "LOCK",
    "UNLOCK",  "REPORT", "MKACTIVITY", "CHECKOUT",  "MERGE",  "SEARCH"};

}  // namespace

Speech classify(std::string_view first_bytes) noexcept {
  if (first_bytes.empty()) return Speech::unknown_yet;
  if (first_bytes[0] == '\x16') {
    if (first_bytes.size() == 1) return Speech::unknown_yet;
    return first_bytes[1] == '\x03' ? Speech::tls : Speech::other;
  }
  const std::size_t space = first_bytes.find(' ');
  const std::string_view word = first_bytes.substr(0, space);
  if (space == std::string_view::npos) {
    const bool may_become_one = std::any_of(
        methods.begin(), methods.end(), [&](std::string_view m) { return m.starts_with(word); });
    return may_become_one ? Speech::unknown_yet : Speech::other;
  }
  if (std::find(methods.begin(), methods.end(), word) == methods.end()) return Speech::other;
  const std::size_t end = first_bytes.find_first_of("\r\n");
  if (end == std::string_view::npos) {
    return first_bytes.size() > longest_first_line ? Speech::http : Speech::unknown_yet;
  }
  return first_bytes.substr(0, end).find(" HTTP/") != std::string_view::npos ? Speech::http
                                                                             : Speech::other;
}

}  // namespace sluice::proxy::wire
