// Turns what one agent did into rules, and sibling hosts into one rule.
#pragma once

#include <string>
#include <vector>

#include "allowlists/tools/suggest.h"

namespace sluice::allowlists {

// Sorted: names by their domains, then ranges. `doubts` gets what looks like something else.
std::vector<SuggestedRule> suggest_rules(const std::string& agent, const SeenAgent& seen,
                                         std::vector<SuggestDoubt>& doubts);

// Entries with the same rules whose names differ only in a last number or random part become one
// glob, where there are three or more of them.
std::vector<SuggestedEntry> merge_agents(std::vector<SuggestedEntry> entries);

}  // namespace sluice::allowlists
