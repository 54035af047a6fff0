// Which pairs of entries, one of each policy, some agent name has.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "allowlists/policy_text.h"

namespace sluice::allowlists {

struct EntryPair {
  static constexpr int none = -1;
  int before = none;  // in PolicyText::agents
  int after = none;
  std::string agent;      // a name that has them; the shortest for a pair of patterns
  bool is_exact = false;  // the pair is told of this name alone
};

struct EntryPairs {
  // Each name that either policy has an entry for, then each pair of patterns that some other name
  // has. No pair without any entry.
  std::vector<EntryPair> pairs;
  // Whether the patterns are too many and too entangled: then pairs that some text fits are there
  // without a name.
  bool gave_up = false;
};

EntryPairs entry_pairs(const PolicyText& before, const PolicyText& after);

// Of one agent; nothing where neither policy has an entry for it.
std::optional<EntryPair> entry_pair_of(const PolicyText& before, const PolicyText& after,
                                       const std::string& agent);

}  // namespace sluice::allowlists
