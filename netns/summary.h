// What a person hears of a registration: how it is watched, and what it came to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "netns/handover.h"

namespace sluice::netns {

// "coder-1: allowed 3, blocked 2 (not_listed 1, port_not_allowed 1)"; with "reported 4 (…), "
// before "blocked" where report mode let something pass.
std::string summary(const std::string& agent, const Totals& totals);

// What a supervisor knows when its agent has ended.
struct AgentEnd {
  std::optional<Totals> totals;  // nothing: sluiced is gone
  std::uint64_t refused_datagrams = 0;
  unsigned replacements = 0;  // of a sluiced that had died
};
// The summary, with what does not stand in it.
std::string end_line(const std::string& agent, const AgentEnd& end);

// What it means that the kernel has no nf_tables and only `ports` have listeners.
std::string without_rules(const std::vector<std::uint16_t>& ports);

}  // namespace sluice::netns
