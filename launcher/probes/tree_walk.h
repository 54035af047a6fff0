// Looks at every entry below a directory, within a bound.
#pragma once

#include <fts.h>

#include <functional>
#include <string>

namespace sluice::launcher::probes {

struct Reach {
  std::size_t most;       // entries, so that a large workspace does not take minutes
  short deepest = 10000;  // levels below the directory, which is level 0
};

// Calls `look` with each entry (fts(3), FTS_PHYSICAL) until it answers false. Answers how many it
// looked at. A directory that cannot be read, or is not there, has no entries.
std::size_t walk(const std::string& directory, const Reach& reach,
                 const std::function<bool(const FTSENT&)>& look);

}  // namespace sluice::launcher::probes
