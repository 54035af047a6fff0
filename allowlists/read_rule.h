// Reads one rule of a policy file.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "allowlists/reporter.h"
#include "allowlists/rule.h"

namespace sluice::allowlists {

// How large the programs of a policy's regexes are, each compiled once. What it costs to find out
// is bounded: beyond `most` instructions none is compiled any more, and the policy is refused.
struct RegexSizes {
  static constexpr int most = 1'000'000;

  std::unordered_map<std::string, int> of;  // of those that are valid
  int total = 0;
};

// Without id. Nothing when it has errors, which are then reported; all of them at once.
std::optional<Rule> read_rule(const YamlValue& value, Effect effect, RegexSizes& regexes,
                              Reporter& report);

}  // namespace sluice::allowlists
