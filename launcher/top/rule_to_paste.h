// The policy's line that would let pass what was blocked.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/reason.h"

namespace sluice::launcher {

// "- {host: api.example.com, ports: [8443]}", for the agent's `allow:`, as `sluice policy suggest`
// judges it. Empty where another word than a missing rule refused it, or no rule should open it.
std::string rule_to_paste(const std::string& agent, std::string_view host, std::uint16_t port,
                          Reason reason);

}  // namespace sluice::launcher
