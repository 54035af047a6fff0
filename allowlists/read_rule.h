// Reads one rule of a policy file.
#pragma once

#include <optional>

#include "allowlists/reporter.h"
#include "allowlists/rule.h"

namespace sluice::allowlists {

// Without id. Nothing when it has errors, which are then reported; all of them at once.
std::optional<Rule> read_rule(const YamlValue& value, Effect effect, Reporter& report);

}  // namespace sluice::allowlists
