// Reads the values of a mapping that are one word each.
#pragma once

#include <fmt/core.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "allowlists/reporter.h"

namespace sluice::allowlists {

// What `parse` makes of the text of `field`; where it makes nothing, an error with `hint`.
template <class Parse>
auto read_value(const Field& field, std::string_view hint, Parse parse, Reporter& report)
    -> decltype(parse(std::string_view())) {
  decltype(parse(std::string_view())) value;
  if (field.value.kind() == YamlKind::scalar) value = parse(field.value.text());
  if (!value) {
    report.error(field.key, fmt::format("'{}' is {}", field.key.text(), shown(field.value)),
                 std::string(hint));
  }
  return value;
}

// As read_value(), for numbers and truths: what is in quotes is a text.
template <class Parse>
auto read_unquoted(const Field& field, std::string_view hint, Parse parse, Reporter& report)
    -> decltype(parse(std::string_view())) {
  if (!field.value.is_quoted()) return read_value(field, hint, parse, report);
  report.error(field.key, fmt::format("'{}' is in quotes, which makes it a text", field.key.text()),
               std::string(hint));
  return {};
}

// From 1 to what 32 bits hold, in plain decimal.
inline std::optional<std::uint32_t> count_of(std::string_view digits) {
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (!whole || digits.front() == '0') return std::nullopt;
  return count;
}

}  // namespace sluice::allowlists
