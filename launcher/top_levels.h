// Looks at the top levels of a directory, as far as a start may take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/strong.h"

namespace sluice::launcher {

struct TopEntry {
  enum class Kind : std::uint8_t { file, directory, link, fifo, socket, device };
  std::string path;  // relative to the directory
  Kind kind = Kind::file;
  int depth = 0;  // 0: in the directory itself
};

struct TopLevels {
  std::vector<TopEntry> entries;  // those of a level before those below it
  bool is_whole = true;           // else there are more entries than were looked at
};

// `levels` 1: what is in the directory itself. At most 20000 entries are looked at; links are not
// followed, and what is in .git and node_modules is passed over. What cannot be read has no
// entries.
TopLevels look_at_top_levels(const std::string& directory, int levels);

}  // namespace sluice::launcher
