#include "base/agent_end.h"

#include <algorithm>
#include <array>

namespace sluice {
namespace {

constexpr std::array<std::string_view, agent_end_count> names = {
    "succeeded", "failed",      "signal",    "timeout",  "memory_limit",
    "stopped",   "not_started", "withdrawn", "released", "lost"};

}  // namespace

std::string_view agent_end_name(AgentEnd end) noexcept {
  return names[static_cast<std::size_t>(end)];
}

std::optional<AgentEnd> agent_end_named(std::string_view name) noexcept {
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return {};
  return static_cast<AgentEnd>(found - names.begin());
}

}  // namespace sluice
