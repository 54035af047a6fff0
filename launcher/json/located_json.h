// JSON whose every value knows its place, for files that a person writes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::launcher {

struct JsonMember;

struct JsonValue {
  enum class Kind : std::uint8_t { null, boolean, natural, other_number, text, list, object };
  Kind kind = Kind::null;
  Mark where;
  bool truth = false;
  std::uint64_t natural = 0;  // a whole number that is not negative
  std::string text;
  std::vector<JsonValue> items;
  std::vector<JsonMember> members;  // in the order of the file

  // Nothing where there is none of that key.
  const JsonValue* find(std::string_view key) const;
};

struct JsonMember {
  std::string key;
  Mark where;
  JsonValue value;
};

// RFC 8259. Errors, each with its place: what is no JSON, a key twice in one object, more than 16
// levels or 1000 keys of an object.
Result<JsonValue> parse_located_json(std::string_view text, const std::string& file);

Failure fail_at(const Mark& where, std::string what, std::string hint = {});

}  // namespace sluice::launcher
