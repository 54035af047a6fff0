// Reads the values of a located JSON document and remembers the first that is wrong.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "launcher/json/located_json.h"

namespace sluice::launcher {

// What a question answers after an error has no meaning; error() is what counts in the end.
class JsonReader {
 public:
  const std::optional<Error>& error() const { return error_; }

  void refuse(const Mark& where, std::string what, std::string hint);
  // "'VALUE' is not WHAT".
  void refuse_unknown(const JsonValue& value, const char* what, const std::string& near);

  // Every other key of the object is an error.
  void know(const JsonValue& object, std::initializer_list<std::string_view> keys);

  // `sentence` says what it is.
  bool is(const JsonValue& value, JsonValue::Kind kind, const std::string& sentence);

  const JsonValue* required_text(const JsonValue& object, const char* key);
  const JsonValue* required_list(const JsonValue& object, const char* key);
  // Nothing where the key is absent or null.
  const JsonValue* list(const JsonValue& object, const char* key);
  // The texts of a list; empty for none.
  std::vector<std::string> texts(const JsonValue* values);

  std::optional<std::uint64_t> number(const JsonValue& object, const char* key, std::uint64_t most);
  std::optional<std::uint64_t> required_number(const JsonValue& object, const char* key,
                                               std::uint64_t most);

  // The second of the pair whose first is the value.
  template <class Table>
  auto choose(const JsonValue& value, const Table& table, const char* what) {
    std::vector<std::string_view> known;
    for (const auto& [name, chosen] : table) {
      if (name == value.text) return chosen;
      known.push_back(name);
    }
    refuse_unknown(value, what, text::nearest(value.text, known));
    return table.front().second;
  }

 private:
  const JsonValue* required(const JsonValue& object, const char* key);

  std::optional<Error> error_;
};

}  // namespace sluice::launcher
