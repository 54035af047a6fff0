// Reads TOML into paths of keys; the one file that knows the parser.
#include <re2/re2.h>
#include <toml++/toml.h>

#include <string>
#include <utility>

#include "allowlists/discover/settings.h"

namespace sluice::allowlists::discover {
namespace {

// toml++ makes a table of each part of a dotted key and frees them by recursion, so that one line
// of dots overflows the stack; its own limit is for values only. A dotted key stands on one line
// (TOML 1.0), so this finds each that is too long, and some long strings that look like one.
bool has_overlong_key(const std::string& text) {
  static const RE2 dotted(
      R"re((?:[^\s.=\[\]{}"',#]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'))re"
      R"re((?:[ \t]*\.[ \t]*(?:[^\s.=\[\]{}"',#]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')){32})re",
      RE2::Quiet);
  return RE2::PartialMatch(text, dotted);
}

class TomlFlattener {
 public:
  bool add(const toml::node& node) {
    if (++visited_ > most_settings) return false;
    if (const auto* text = node.as_string()) {
      const int line = static_cast<int>(node.source().begin.line);
      settings_.push_back({path_, text->get(), line});
    }
    if (path_.size() == deepest_setting) return true;
    if (const auto* table = node.as_table()) return add_table(*table);
    if (const auto* array = node.as_array()) return add_array(*array);
    return true;
  }
  Settings take() { return std::move(settings_); }

 private:
  bool add_table(const toml::table& table) {
    for (const auto& [key, value] : table) {
      path_.emplace_back(key.str());
      if (!add(value)) return false;
      path_.pop_back();
    }
    return true;
  }

  bool add_array(const toml::array& array) {
    for (const toml::node& value : array) {
      path_.emplace_back("[]");
      if (!add(value)) return false;
      path_.pop_back();
    }
    return true;
  }

  Settings settings_;
  std::vector<std::string> path_;
  std::size_t visited_ = 0;
};

}  // namespace

ReadSettings read_toml(const std::string& text) {
  if (has_overlong_key(text)) {
    return tl::unexpected(Unreadable{0, "a key of more than 32 parts"});
  }
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    const int line = static_cast<int>(result.error().source().begin.line);
    return tl::unexpected(Unreadable{line, "no TOML that can be read"});
  }
  TomlFlattener flattener;
  if (!flattener.add(result.table())) {
    return tl::unexpected(Unreadable{0, "more values than are looked at"});
  }
  return flattener.take();
}

}  // namespace sluice::allowlists::discover
