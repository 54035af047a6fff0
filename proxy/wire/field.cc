#include "proxy/wire/field.h"

#include <algorithm>

namespace sluice::proxy::wire {
namespace {

constexpr char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

constexpr bool is_token_char(char c) noexcept {
  if ((c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// RFC 9110 5.5: visible ASCII, obs-text, space and tab.
constexpr bool is_value_char(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7f);
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
  if (!std::all_of(field.value.begin(), field.value.end(), is_value_char)) {
    return bad_request("a header value has a control byte");
  }
  return field;
}

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

std::string_view trim(std::string_view text) noexcept {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
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
    const std::size_t at = bytes.find_first_of("\r\n", scanned);
    scanned = std::min(at, bytes.size());
    if (at == std::string_view::npos) break;
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
