// What two policies answer differently about addresses, asked for literally or resolved to.
#pragma once

#include <vector>

#include "allowlists/tools/diff_answers.h"

namespace sluice::allowlists {

// Appends the statements of DiffKind::range in the order of their addresses. They are exact but for
// IPv6 addresses that embed IPv4 addresses which are no range of their own (Teredo, local-use
// NAT64, ISATAP): those follow the statements of the range they are in and of the IPv4 addresses.
// Answers whether an IPv6 rule makes that worth saying.
bool diff_addresses(const DiffSides& sides, std::vector<DiffStatement>& statements);

}  // namespace sluice::allowlists
