// Reads the paths of git's index (gitformat-index(5)).
#pragma once

#include <string_view>

namespace sluice::launcher {

// Whether an entry's path has a component that git never puts there: "", ".", ".." or ".git". git
// does not look again when it reads an index, so that checkout writes where such a path leads. What
// cannot be read to its end counts as well.
bool leads_astray(std::string_view index);

}  // namespace sluice::launcher
