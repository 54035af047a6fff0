// Which ports an agent's rules can open at all, for machines that need a listener for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "allowlists/policy.h"
#include "allowlists/rule.h"

namespace sluice::allowlists {

// Of all allow rules, whatever deny and never rules take away again. In report mode every port
// passes.
OpenPorts open_ports(Mode mode, std::span<const Rule> rules);

}  // namespace sluice::allowlists
