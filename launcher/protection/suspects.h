// What an agent may have put into a git directory that git itself never puts there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

struct Suspect {
  std::string path;
  std::string_view reason;
};

// Symbolic links, through which git would write elsewhere, and an index that leads astray. Looks at
// a bounded number of entries, and not into objects, where git follows nothing.
std::vector<Suspect> suspects_in(const std::string& git);

}  // namespace sluice::launcher
