// The audit lines of what supervisors report of their agents' lives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/agent_end.h"
#include "metrics/audit.h"

namespace sluice::proxy {

// `status`: what the agent exited with, where somebody said so.
metrics::AuditLine agent_end_line(const std::string& agent, AgentEnd end,
                                  std::optional<std::uint64_t> status);
// A containment check that found a way out. `what` is a peer's.
metrics::AuditLine leak_line(const std::string& agent, std::string_view what);

}  // namespace sluice::proxy
