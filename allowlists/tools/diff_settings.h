// What a change of an entry's `limits:` and `sandbox:` loosens and tightens.
#pragma once

#include <vector>

#include "allowlists/policy_text.h"
#include "allowlists/tools/diff.h"

namespace sluice::allowlists {

// What loosens first, then in the order of the language. What may loosen, as a budget that is
// larger over shorter windows, is told as if it did.
std::vector<DiffSetting> diff_settings(const AgentEntry& before, const AgentEntry& after);

// Equal for entries whose settings are.
std::string settings_key(const AgentEntry& entry);

}  // namespace sluice::allowlists
