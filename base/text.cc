#include "base/text.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace sluice::text {
namespace {

struct Decoded {
  std::uint32_t code = 0;
  std::size_t size = 0;  // 0: the first byte starts no UTF-8 sequence
};

// One UTF-8 sequence (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
Decoded decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {};
  std::uint32_t code = lead & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  const std::uint32_t least = size == 4 ? 0x10000 : size == 3 ? 0x800 : 0x80;
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, size};
}

// Controls and characters of no width (Default_Ignorable_Code_Point), which change what a person
// sees rather than being seen.
bool is_steering(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c ||
         code == 0x180e || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
         code == 0xfeff || (code >= 0xe0000 && code <= 0xe0fff);
}

// Printable ASCII but quote and backslash: what stands for itself in JSON and on a terminal.
constexpr std::array<bool, 256> plain = [] {
  std::array<bool, 256> table{};
  for (std::size_t byte = 0x20; byte < 0x7f; ++byte) table[byte] = byte != '"' && byte != '\\';
  return table;
}();

// Moves what is plain at the beginning of `text` to the end of `out`.
void move_plain(std::string& out, std::string_view& text) {
  std::size_t size = 0;
  while (size < text.size() && plain[static_cast<std::uint8_t>(text[size])]) ++size;
  out += text.substr(0, size);
  text.remove_prefix(size);
}

void append_hex(std::string& out, std::uint32_t value, int digits) {
  for (int i = 7; i >= 0; --i) {
    const std::uint32_t rest = value >> (4 * i);
    if (i < digits || rest != 0) out += "0123456789abcdef"[rest & 15];
  }
}

// RFC 8259, section 7: beyond the basic plane by a pair of surrogates.
void append_escape(std::string& out, std::uint32_t code) {
  out += "\\u";
  if (code < 0x10000) return append_hex(out, code, 4);
  append_hex(out, 0xd800 + ((code - 0x10000) >> 10), 4);
  out += "\\u";
  append_hex(out, 0xdc00 + ((code - 0x10000) & 0x3ff), 4);
}

}  // namespace

std::string printable(std::string_view untrusted) {
  std::string out;
  out.reserve(untrusted.size());
  append_printable(out, untrusted);
  return out;
}

void append_printable(std::string& out, std::string_view untrusted) {
  for (move_plain(out, untrusted); !untrusted.empty(); move_plain(out, untrusted)) {
    const auto [code, size] = decode(untrusted);
    if (code == '\\') {
      out += "\\\\";
    } else if (size == 0 || (code < 0x80 && is_steering(code))) {
      out += "\\x";
      append_hex(out, static_cast<std::uint8_t>(untrusted.front()), 2);
    } else if (is_steering(code)) {
      out += "\\u{";
      append_hex(out, code, 1);
      out += '}';
    } else {
      out += untrusted.substr(0, size);
    }
    untrusted.remove_prefix(std::max<std::size_t>(size, 1));
  }
}

void append_json(std::string& out, std::string_view value) {
  for (move_plain(out, value); !value.empty(); move_plain(out, value)) {
    const auto [code, size] = decode(value);
    if (size == 0) {
      out += "\\ufffd";
    } else if (code == '"' || code == '\\') {
      out += '\\';
      out += static_cast<char>(code);
    } else if (is_steering(code)) {
      append_escape(out, code);
    } else {
      out += value.substr(0, size);
    }
    value.remove_prefix(std::max<std::size_t>(size, 1));
  }
}

void append_decimal(std::string& out, std::uint64_t value, std::size_t digits) {
  std::array<char, 20> buffer;  // of 2^64 - 1
  std::size_t at = buffer.size();
  do {
    buffer[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0 || buffer.size() - at < digits);
  out.append(buffer.data() + at, buffer.size() - at);
}

std::size_t valid_utf8_prefix(std::string_view bytes) {
  std::size_t valid = 0;
  while (valid < bytes.size()) {
    const std::size_t size = decode(bytes.substr(valid)).size;
    if (size == 0) break;
    valid += size;
  }
  return valid;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace sluice::text
