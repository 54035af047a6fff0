// Which agents an entry of the policy is for: an exact name, or a glob with `*` only.
#pragma once

#include <cstddef>
#include <string_view>

namespace sluice::allowlists {

// An agent name in which any part may be `*`; at most 126 bytes.
bool is_agent_glob(std::string_view pattern) noexcept;

bool glob_matches(std::string_view glob, std::string_view name) noexcept;

// Bytes before the first `*`.
std::size_t literal_prefix(std::string_view glob) noexcept;

// Whether some text matches both.
bool globs_overlap(std::string_view a, std::string_view b);

// Whether `a` is asked before `b`: longer literal prefix, then longer pattern.
bool glob_precedes(std::string_view a, std::string_view b) noexcept;

}  // namespace sluice::allowlists
