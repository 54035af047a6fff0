// Makes text that an agent chose safe to show to a person or to put into JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::text {

// Every byte that could move a cursor or reorder a line becomes \xNN or \u{NNNN}: C0, DEL, C1, ESC,
// bidi controls (UAX #9), line separators, characters of no width, and bytes that are not UTF-8.
// Backslash is doubled.
std::string printable(std::string_view untrusted);
void append_printable(std::string& out, std::string_view untrusted);

// Appends `value` as the inside of a JSON string (RFC 8259): quotes, backslash and controls
// escaped, bytes that are not UTF-8 replaced by U+FFFD, what printable() escapes as \uXXXX.
void append_json(std::string& out, std::string_view value);

// Appends `value` in decimal, with zeros in front up to `digits` (at most 20).
void append_decimal(std::string& out, std::uint64_t value, std::size_t digits = 1);

// How many bytes of `bytes`, from its beginning, are UTF-8 (RFC 3629); bytes.size() when all are.
std::size_t valid_utf8_prefix(std::string_view bytes);

// The word of `known` nearest to `word` by edit distance, or "" when none is near enough to
// suggest.
template <class Range>
std::string nearest(std::string_view word, const Range& known);

// Levenshtein distance, for nearest().
std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::string nearest(std::string_view word, const Range& known) {
  std::string best;
  std::size_t best_distance = word.size() / 3 + 1;
  for (const auto& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance <= best_distance && (best.empty() || distance < best_distance)) {
      best = std::string(candidate);
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace sluice::text
