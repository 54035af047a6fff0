// Warns of allow rules for names that strangers have, can register, or read from.
#pragma once

#include <vector>

#include "allowlists/policy_text.h"
#include "base/error.h"

namespace sluice::allowlists {

// Known hosts, wildcards over public suffixes, loose regexes. A rule that several entries share is
// told of once.
void add_of_names(const PolicyText& text, std::vector<Error>& found);

}  // namespace sluice::allowlists
