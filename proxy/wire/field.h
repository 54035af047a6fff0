// The part that HTTP/1 requests and responses share: header fields, strictly read (RFC 9112 5).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// Name as sent; value without the white space around it. Views into the caller's bytes.
struct Field {
  std::string_view name;
  std::string_view value;
};

// Start line, fields and all line ends count towards `bytes`.
struct HeadLimits {
  std::size_t bytes = 65536;
  std::size_t fields = 128;
};

struct MessageHead {
  int minor = 1;  // of HTTP/1.x: 0 or 1
  std::vector<Field> fields;
  std::size_t size = 0;  // bytes of the head: the body begins behind them

  // First field of that name, ASCII case ignored.
  std::optional<std::string_view> find(std::string_view name) const noexcept;
  std::size_t count(std::string_view name) const noexcept;
  // Whether a comma-separated field (all lines of it) has this member, ASCII case ignored.
  bool lists(std::string_view name, std::string_view member) const noexcept;
  // RFC 9112 9.3, the cautious half: HTTP/1.1 without "Connection: close".
  bool keeps_alive() const noexcept;
};

// Equal but for ASCII case; for texts of one length.
bool same_letters(std::string_view a, std::string_view b) noexcept;
// Inline, because nearly all names that are compared differ in length.
inline bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && same_letters(a, b);
}
// RFC 9110 5.6.2.
bool is_token(std::string_view text) noexcept;
// Without spaces and tabs at both ends (OWS).
std::string_view trim(std::string_view text) noexcept;

// Cuts the next member off a comma-separated list; nothing once the list is empty. Empty members
// are skipped (RFC 9110 5.6.1). Knows no quoted strings: for lists of tokens.
std::optional<std::string_view> next_member(std::string_view& list) noexcept;

// A head as lines: where it ends, and its start line (RFC 9112 2.1).
struct HeadLines {
  std::string_view start_line;
  std::string_view field_lines;  // each ends in CRLF; the empty line is not among them
  std::size_t size = 0;
};

// Looks for the empty line that ends a head. Nothing yet: more bytes are needed. `scanned`
// remembers how far it looked, so that one byte at a time costs linear time: 0 for a new head, then
// untouched by the caller. One empty line before the start line is allowed. bad_request as soon as
// a CR or LF stands alone; header_too_large at the limit.
WireResult<std::optional<HeadLines>> split_head(std::string_view bytes, std::size_t limit,
                                                std::size_t& scanned);

// "name: value" lines. bad_request: no colon, white space around the name, a continuation line
// (obs-fold), a control byte in the value. header_too_large: more than `limit` fields.
WireResult<std::vector<Field>> parse_fields(std::string_view lines, std::size_t limit);

}  // namespace sluice::proxy::wire
