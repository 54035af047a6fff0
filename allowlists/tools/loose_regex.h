// Finds regexes that fit names which nobody meant.
#pragma once

#include <optional>
#include <string>

namespace sluice::allowlists {

struct LooseRegex {
  std::string what;
  std::string hint;
};

// A '.' between letters or digits that is not escaped; or a name that it fits and that a stranger
// can register. Tried with a few hundred names made of the regex's own literal parts, so that what
// it finds is so, and what it does not find may be so too.
std::optional<LooseRegex> loose_regex(const std::string& regex);

}  // namespace sluice::allowlists
