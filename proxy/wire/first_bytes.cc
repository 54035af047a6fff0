#include "proxy/wire/first_bytes.h"

#include <algorithm>
#include <array>

namespace sluice::proxy::wire {
namespace {

constexpr std::size_t longest_first_line = 8192;

// The IANA HTTP Method Registry, PURGE, and the first word of HTTP/2's preface.
constexpr std::array<std::string_view, 45> methods = {"ACL",
                                                      "BASELINE-CONTROL",
                                                      "BIND",
                                                      "CHECKIN",
                                                      "CHECKOUT",
                                                      "CONNECT",
                                                      "COPY",
                                                      "DELETE",
                                                      "GET",
                                                      "HEAD",
                                                      "LABEL",
                                                      "LINK",
                                                      "LOCK",
                                                      "MERGE",
                                                      "MKACTIVITY",
                                                      "MKCALENDAR",
                                                      "MKCOL",
                                                      "MKREDIRECTREF",
                                                      "MKWORKSPACE",
                                                      "MOVE",
                                                      "NOTIFY",
                                                      "OPTIONS",
                                                      "ORDERPATCH",
                                                      "PATCH",
                                                      "POST",
                                                      "PRI",
                                                      "PROPFIND",
                                                      "PROPPATCH",
                                                      "PURGE",
                                                      "PUT",
                                                      "QUERY",
                                                      "REBIND",
                                                      "REPORT",
                                                      "SEARCH",
                                                      "SUBSCRIBE",
                                                      "TRACE",
                                                      "UNBIND",
                                                      "UNCHECKOUT",
                                                      "UNLINK",
                                                      "UNLOCK",
                                                      "UNSUBSCRIBE",
                                                      "UPDATE",
                                                      "UPDATEREDIRECTREF",
                                                      "VERSION-CONTROL",
                                                      "BREW"};

// White space of the lenient parsing that RFC 9112 3 allows an origin.
constexpr std::string_view blanks = " \t\v\f";

constexpr char upper(char c) noexcept {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}
constexpr bool alike(char a, char b) noexcept { return upper(a) == upper(b); }

bool names_http(std::string_view line) noexcept {
  constexpr std::string_view http = "HTTP/";
  return std::search(line.begin(), line.end(), http.begin(), http.end(), alike) != line.end();
}

}  // namespace

Speech classify(std::string_view first_bytes) noexcept {
  if (first_bytes.empty()) return Speech::unknown_yet;
  if (first_bytes[0] == '\x16') {
    if (first_bytes.size() == 1) return Speech::unknown_yet;
    return first_bytes[1] == '\x03' ? Speech::tls : Speech::other;
  }
  // Origins skip empty lines before a request line (RFC 9112 2.2): behind them HTTP must not pass
  // for something else, or its Host field would go unread.
  const std::size_t start = first_bytes.find_first_not_of(" \t\v\f\r\n");
  if (start == std::string_view::npos) {
    return first_bytes.size() > longest_first_line ? Speech::http : Speech::unknown_yet;
  }
  const std::string_view text = first_bytes.substr(start);
  const std::string_view word = text.substr(0, text.find_first_of(blanks));
  if (word.size() == text.size()) {
    const bool may_become_one = std::any_of(
        methods.begin(), methods.end(), [&](std::string_view m) { return m.starts_with(word); });
    return may_become_one ? Speech::unknown_yet : Speech::other;
  }
  if (std::find(methods.begin(), methods.end(), word) == methods.end()) return Speech::other;
  const std::size_t end = text.find_first_of("\r\n");
  if (end != std::string_view::npos) {
    return names_http(text.substr(0, end)) ? Speech::http : Speech::other;
  }
  return text.size() > longest_first_line ? Speech::http : Speech::unknown_yet;
}

}  // namespace sluice::proxy::wire
