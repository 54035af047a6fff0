// What lies in a git directory that git itself never puts there: an agent may have.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "launcher/protection/findings.h"

namespace sluice::launcher {

struct GitInterior {
  std::vector<std::string> links;         // symbolic: git would write to where they lead
  std::vector<std::string> repositories;  // directories that git takes for one, not looked into
  std::vector<std::string> holders;       // directories that have a ".git" of their own
  std::vector<std::string> indexes;       // of the git directory itself; shared ones last
};

// Looks at every directory in `git`, objects too: a link or a .git file leads anywhere. `left` is
// how many may still be read; findings know when they were too few.
GitInterior look_inside(const std::string& git, Findings& findings, std::size_t& left);

}  // namespace sluice::launcher
