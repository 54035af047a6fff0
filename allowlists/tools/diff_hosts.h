// What two policies answer differently about names.
#pragma once

#include <vector>

#include "allowlists/tools/diff_answers.h"

namespace sluice::allowlists {

// Appends the statements of DiffKind host, below, any_other_name and regex, in no order.
void diff_hosts(const DiffSides& sides, std::vector<DiffStatement>& statements);

}  // namespace sluice::allowlists
