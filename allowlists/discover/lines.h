// Line by line readers of the small formats that have no library: ini, requirements, environment.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allowlists/discover/settings.h"

namespace sluice::allowlists::discover {

struct Line {
  std::string text;
  int number = 0;
};

// Lines without their ends (LF or CRLF); a byte order mark is taken off.
std::vector<Line> split_lines(std::string_view text);
// As split_lines(); a line that ends in a backslash goes on in the next one.
std::vector<Line> join_continued(std::string_view text);

std::string_view trimmed(std::string_view text);
// Without one pair of quotes around it.
std::string_view unquoted(std::string_view text);
// ASCII only.
std::string lowered(std::string_view text);
std::vector<std::string_view> words_of(std::string_view text);

// What an .npmrc holds: key = value under no or one [section]; comments begin with ; or #
// (npmrc(5)). Paths are {key} or {section, key}.
Settings read_npmrc(std::string_view text);
// What Python's configparser reads: as read_npmrc(), with ':' beside '=' and indented lines that go
// on with the value; each word of a value is a setting.
Settings read_python_ini(std::string_view text);
// KEY=VALUE lines: go/env, go.env.
Settings read_key_values(std::string_view text);

}  // namespace sluice::allowlists::discover
