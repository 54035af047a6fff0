// Reads git's configuration format (git-config(1), SYNTAX).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "allowlists/discover/settings.h"

namespace sluice::allowlists::discover {

struct GitEntry {
  std::string section;     // lower case
  std::string subsection;  // as written: its case counts
  std::string key;         // lower case
  std::string value;
  int line = 0;
};

// git refuses a file with an error in it, and so does this.
tl::expected<std::vector<GitEntry>, Unreadable> read_git_config(std::string_view text);

}  // namespace sluice::allowlists::discover
