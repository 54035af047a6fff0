#include "proxy/wire/field.h"

#include <algorithm>
#include <array>

namespace sluice::proxy::wire {
namespace {

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

constexpr std::size_t usual_fields = 16;

using Bytes = std::array<bool, 256>;

constexpr Bytes token_chars = [] {
  Bytes table{};
  for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}();

// RFC 9110 5.5: visible ASCII, obs-text, space and tab.
constexpr Bytes value_chars = [] {
  Bytes table{};
  for (std::size_t byte = 0x20; byte < table.size(); ++byte) table[byte] = byte != 0x7f;
  table['\t'] = true;
  return table;
}();

bool all_in(const Bytes& table, std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return table[static_cast<unsigned char>(c)]; });
}

// Where the first CR or LF stands; the size of the text without one. memchr(3) finds each of them
// faster than a loop finds either.
std::size_t find_line_end(std::string_view text) noexcept {
  const std::size_t cr = std::min(text.find('\r'), text.size());
  return std::min(text.substr(0, cr).find('\n'), cr);
}

WireResult<Field> parse_field(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') {
    return bad_request("a header line begins with white space (obs-fold)");
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bad_request("a header line has no colon");
  const Field field{line.substr(0, colon), trim(line.substr(colon + 1))};
  if (!is_token(field.name)) {
    return bad_request("a header name has white space or other bytes that no name may have");
  }
  if (!all_in(value_chars, field.value)) {
    return bad_request("a header value has a control byte");
  }
  return field;
}

}  // namespace

bool same_letters(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(),
                    [](char x, char y) { return x == y || lower(x) == lower(y); });
}

bool is_token(std::string_view text) noexcept { return !text.empty() && all_in(token_chars, text); }

std::string_view trim(std::string_view text) noexcept {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<std::string_view> next_member(std::string_view& list) noexcept {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view member = trim(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (!member.empty()) return member;
  }
  return std::nullopt;
}

std::optional<std::string_view> MessageHead::find(std::string_view name) const noexcept {
  for (const Field& field : fields) {
    if (equals_ignoring_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::size_t MessageHead::count(std::string_view name) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(fields.begin(), fields.end(),
                    [&](const Field& field) { return equals_ignoring_case(field.name, name); }));
}

bool MessageHead::lists(std::string_view name, std::string_view member) const noexcept {
  for (const Field& field : fields) {
    if (!equals_ignoring_case(field.name, name)) continue;
    std::string_view rest = field.value;
    while (const auto next = next_member(rest)) {
      if (equals_ignoring_case(*next, member)) return true;
    }
  }
  return false;
}

bool MessageHead::keeps_alive() const noexcept {
  return minor == 1 && !lists("connection", "close");
}

WireResult<std::optional<HeadLines>> split_head(std::string_view bytes, std::size_t limit,
                                                std::size_t& scanned) {
  const auto too_large = [] {
    return wire_fail(Reason::header_too_large, "the header is larger than the limit");
  };
  while (scanned < bytes.size()) {
    const std::size_t at = scanned + find_line_end(bytes.substr(scanned));
    scanned = at;
    if (at == bytes.size()) break;
    if (bytes[at] == '\n') return bad_request("a line ends in LF without CR");
    if (at + 1 == bytes.size()) break;
    if (bytes[at + 1] != '\n') return bad_request("a CR stands without LF");
    scanned = at + 2;
    if (scanned > limit) return too_large();
    if (at == 0 || bytes[at - 1] != '\n') continue;
    if (at == 2) return bad_request("more than one empty line stands before the message");

    const std::size_t start = bytes.front() == '\r' ? 2 : 0;
    const std::size_t start_end = bytes.find('\r', start);
    HeadLines head;
    head.start_line = bytes.substr(start, start_end - start);
    head.field_lines = bytes.substr(start_end + 2, at - (start_end + 2));
    head.size = scanned;
    return head;
  }
  if (bytes.size() >= limit) return too_large();
  return std::nullopt;
}

WireResult<std::vector<Field>> parse_fields(std::string_view lines, std::size_t limit) {
  std::vector<Field> fields;
  if (!lines.empty()) fields.reserve(std::min(limit, usual_fields));
  while (!lines.empty()) {
    const std::size_t end = lines.find("\r\n");
    if (end == std::string_view::npos || end == 0) return bad_request("a header line is empty");
    if (fields.size() == limit) {
      return wire_fail(Reason::header_too_large, "the header has more fields than the limit");
    }
    auto field = parse_field(lines.substr(0, end));
    if (!field) return tl::unexpected(std::move(field.error()));
    fields.push_back(*field);
    lines.remove_prefix(end + 2);
  }
  return fields;
}

}  // namespace sluice::proxy::wire
