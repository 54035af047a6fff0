// Says what is legal in a policy and yet probably not meant.
#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "allowlists/policy_text.h"
#include "base/error.h"

namespace sluice::allowlists {

// Sorted by file and line; a Mark's column is 0, for a policy's text knows lines only. In time
// proportional to the number of rules.
std::vector<Error> warnings_of(const PolicyText& text);

// Allow rules that no decision names, of which `used` holds Decision::rule. Ranges, which the
// address guard asks without being named, and rules of presets are left out.
std::vector<Error> unused_rules(const PolicyText& text,
                                const std::unordered_set<std::string>& used);

// By file, line and column; those of one place stay in order.
void sort_by_place(std::vector<Error>& warnings);

// 'SUBJECT', of a rule that was read: nothing in it needs escaping; not longer than a line.
std::string in_quotes(std::string_view subject);

// One at "policy.yaml:31".
Error warning_at(std::string_view place, std::string what, std::string hint);

}  // namespace sluice::allowlists
