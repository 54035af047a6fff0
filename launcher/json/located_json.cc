#include "launcher/json/located_json.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t deepest = 16;
constexpr std::size_t most_keys = 1000;

// Tells how far the parser has read.
class Reading {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Reading(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  Reading& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  Reading operator++(int) {
    Reading before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const Reading& a, const Reading& b) { return a.at_ == b.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// Where the token begins whose last byte is the last of `read`. Tokens hold no line feed.
const char* begin_of_text(std::string_view read) {
  const char* const begin = read.data();
  const char* quote = begin + read.size() - 1;
  while (quote > begin) {
    --quote;
    const char* backslashes = quote;
    while (backslashes > begin && backslashes[-1] == '\\') --backslashes;
    if (*quote == '"' && (quote - backslashes) % 2 == 0) break;
  }
  return quote;
}

bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == 'E' || c == '+' || c == '-' ||
         c == '.';
}

// The parser has read one byte too many where a number ends.
const char* begin_of_number(std::string_view read) {
  const char* const begin = read.data();
  const char* end = begin + read.size();
  while (end > begin && !is_word_byte(end[-1])) --end;
  while (end > begin && is_word_byte(end[-1])) --end;
  return end;
}

// Events of nlohmann's SAX parser; answering false ends the parse.
class Builder {
 public:
  Builder(std::string_view text, const std::string& file) : text_(text), file_(file) {
    read_ = seen_ = line_begin_ = text.data();
  }

  const char** furthest() { return &read_; }
  Result<JsonValue> take() {
    if (error_) return Failure(*error_);
    return std::move(root_);
  }

  bool null() { return put(JsonValue::Kind::null, word()) != nullptr; }
  bool boolean(bool truth) {
    JsonValue* const value = put(JsonValue::Kind::boolean, word());
    if (value != nullptr) value->truth = truth;
    return value != nullptr;
  }
  bool number_integer(std::int64_t) {
    return put(JsonValue::Kind::other_number, word()) != nullptr;
  }
  bool number_unsigned(std::uint64_t number) {
    JsonValue* const value = put(JsonValue::Kind::natural, word());
    if (value != nullptr) value->natural = number;
    return value != nullptr;
  }
  bool number_float(double, const std::string&) {
    return put(JsonValue::Kind::other_number, word()) != nullptr;
  }
  bool string(std::string& said) {
    JsonValue* const value = put(JsonValue::Kind::text, begin_of_text(read()));
    if (value != nullptr) value->text = said;
    return value != nullptr;
  }
  bool binary(nlohmann::json::binary_t&) { return false; }  // JSON has none

  bool start_object(std::size_t) { return enter(JsonValue::Kind::object); }
  bool start_array(std::size_t) { return enter(JsonValue::Kind::list); }
  bool end_object() { return leave(); }
  bool end_array() { return leave(); }
  bool key(std::string& name) {
    const Mark where = mark(begin_of_text(read()));
    JsonValue& object = *open_.back();
    if (object.find(name) != nullptr)
      return refuse(where, fmt::format("key '{}' is given twice", text::printable(name)));
    if (object.members.size() == most_keys) return refuse(where, "this object has too many keys");
    object.members.push_back({name, where, {}});
    return true;
  }

  template <class Exception>
  bool parse_error(std::size_t position, const std::string& token, const Exception&) {
    const std::size_t at = std::min(position > 0 ? position - 1 : 0, text_.size());
    const std::string shown = text::printable(token.substr(0, 40));
    return refuse(mark(text_.data() + at), shown.empty() || at >= text_.size()
                                               ? "this is not JSON: it ends too early"
                                               : fmt::format("this is not JSON at '{}'", shown));
  }

 private:
  std::string_view read() const {
    return text_.substr(0, static_cast<std::size_t>(read_ - text_.data()));
  }
  const char* word() const { return begin_of_number(read()); }

  bool refuse(const Mark& where, std::string what) {
    if (!error_)
      error_ = Error{Errc::bad_config, std::move(what), "RFC 8259 is what JSON is", where};
    return false;
  }

  // Places come in the order of the text.
  Mark mark(const char* at) {
    for (; seen_ < at; ++seen_) {
      if (*seen_ != '\n') continue;
      ++line_;
      line_begin_ = seen_ + 1;
    }
    return {file_, line_, static_cast<int>(at - line_begin_) + 1};
  }

  JsonValue* put(JsonValue::Kind kind, const char* at) {
    JsonValue* value = &root_;
    if (!open_.empty()) {
      JsonValue& parent = *open_.back();
      value = parent.kind == JsonValue::Kind::list ? &parent.items.emplace_back()
                                                   : &parent.members.back().value;
    }
    value->kind = kind;
    value->where = mark(at);
    return value;
  }

  bool enter(JsonValue::Kind kind) {
    JsonValue* const value = put(kind, read_ - 1);
    if (open_.size() == deepest) return refuse(value->where, "this is nested too deeply");
    open_.push_back(value);
    return true;
  }

  bool leave() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& file_;
  const char* read_;
  const char* seen_;
  const char* line_begin_;
  int line_ = 1;
  JsonValue root_;
  std::vector<JsonValue*> open_;  // each the last element of the one before
  std::optional<Error> error_;
};

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
  for (const JsonMember& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

Failure fail_at(const Mark& where, std::string what, std::string hint) {
  return Failure(Error{Errc::bad_config, std::move(what), std::move(hint), where});
}

Result<JsonValue> parse_located_json(std::string_view text, const std::string& file) {
  Builder builder(text, file);
  const char* const begin = text.data();
  nlohmann::json::sax_parse(Reading(begin, builder.furthest()),
                            Reading(begin + text.size(), builder.furthest()), &builder);
  return builder.take();
}

}  // namespace sluice::launcher
