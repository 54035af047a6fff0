// What a configuration file of any format says, as paths of keys with texts behind them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::allowlists::discover {

// One text of a file. `path`: the keys that lead to it; "[]" for an item of a list.
struct Setting {
  std::vector<std::string> path;
  std::string value;
  int line = 0;

  // "*" in `pattern` stands for any one key.
  bool is_at(std::initializer_list<std::string_view> pattern) const;
  // As is_at(), for a setting that stands there or in a list there.
  bool is_in(std::initializer_list<std::string_view> pattern) const;
};

using Settings = std::vector<Setting>;

// Why a file says nothing; never any of its text.
struct Unreadable {
  int line = 0;
  std::string what;
};
using ReadSettings = tl::expected<Settings, Unreadable>;

// Deeper texts are passed over; nothing that is looked for stands so deep.
inline constexpr std::size_t deepest_setting = 12;
// A file that holds more texts (through YAML's aliases, for instance) is refused.
inline constexpr std::size_t most_settings = 100'000;

ReadSettings read_toml(const std::string& text);
// Elements by their names, without attributes. No document type is read, no entity but the five of
// XML is known.
ReadSettings read_xml(const std::string& text);
ReadSettings read_yaml(const std::string& text);

}  // namespace sluice::allowlists::discover
