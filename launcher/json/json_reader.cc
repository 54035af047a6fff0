#include "launcher/json/json_reader.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>

namespace sluice::launcher {
namespace {

using Kind = JsonValue::Kind;

std::string quoted(std::string_view said) { return fmt::format("'{}'", text::printable(said)); }

}  // namespace

void JsonReader::refuse(const Mark& where, std::string what, std::string hint) {
  if (!error_) error_ = Error{Errc::bad_config, std::move(what), std::move(hint), where};
}

void JsonReader::refuse_unknown(const JsonValue& value, const char* what, const std::string& near) {
  refuse(
      value.where, fmt::format("{} is not {}", quoted(value.text), what),
      near.empty() ? "is it spelled as others spell it?" : fmt::format("did you mean '{}'?", near));
}

void JsonReader::know(const JsonValue& object, std::initializer_list<std::string_view> keys) {
  for (const JsonMember& member : object.members) {
    if (std::find(keys.begin(), keys.end(), member.key) != keys.end()) continue;
    const std::string near = text::nearest(member.key, keys);
    refuse(member.where, fmt::format("key {} is unknown", quoted(member.key)),
           near.empty() ? fmt::format("known here: {}", fmt::join(keys, ", "))
                        : fmt::format("did you mean '{}'?", near));
  }
}

bool JsonReader::is(const JsonValue& value, Kind kind, const std::string& sentence) {
  if (value.kind == kind) return true;
  refuse(value.where, sentence + ", and this is not", "change its type, or leave it out");
  return false;
}

const JsonValue* JsonReader::required(const JsonValue& object, const char* key) {
  const JsonValue* const value = object.find(key);
  if (value == nullptr)
    refuse(object.where, fmt::format("key '{}' is missing here", key), "add it");
  return value;
}

const JsonValue* JsonReader::required_text(const JsonValue& object, const char* key) {
  const JsonValue* const value = required(object, key);
  const bool fits = value != nullptr && is(*value, Kind::text, fmt::format("'{}' is a text", key));
  return fits ? value : nullptr;
}

const JsonValue* JsonReader::required_list(const JsonValue& object, const char* key) {
  const JsonValue* const value = required(object, key);
  const bool fits = value != nullptr && is(*value, Kind::list, fmt::format("'{}' is a list", key));
  return fits ? value : nullptr;
}

const JsonValue* JsonReader::list(const JsonValue& object, const char* key) {
  const JsonValue* const value = object.find(key);
  if (value == nullptr || value->kind == Kind::null) return nullptr;
  return is(*value, Kind::list, fmt::format("'{}' is a list", key)) ? value : nullptr;
}

std::vector<std::string> JsonReader::texts(const JsonValue* values) {
  std::vector<std::string> said;
  if (values == nullptr) return said;
  for (const JsonValue& value : values->items) {
    if (is(value, Kind::text, "a name is a text")) said.push_back(value.text);
  }
  return said;
}

std::optional<std::uint64_t> JsonReader::number(const JsonValue& object, const char* key,
                                                std::uint64_t most) {
  const JsonValue* const value = object.find(key);
  if (value == nullptr) return std::nullopt;
  if (!is(*value, Kind::natural, fmt::format("'{}' is a whole number that is not negative", key))) {
    return std::nullopt;
  }
  if (value->natural <= most) return value->natural;
  refuse(value->where,
         fmt::format("'{}' is {}, and at most {} is possible", key, value->natural, most),
         "correct the number");
  return std::nullopt;
}

std::optional<std::uint64_t> JsonReader::required_number(const JsonValue& object, const char* key,
                                                         std::uint64_t most) {
  return required(object, key) != nullptr ? number(object, key, most) : std::nullopt;
}

}  // namespace sluice::launcher
