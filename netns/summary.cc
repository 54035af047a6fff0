#include "netns/summary.h"

#include <fmt/format.h>

#include <cstdint>
#include <map>

namespace sluice::netns {

std::string summary(const std::string& agent, const Totals& totals) {
  // "3 (not_listed 2, port_not_allowed 1)"
  const auto by_reason = [](const std::map<std::string, std::uint64_t>& counts) {
    std::uint64_t sum = 0;
    std::string reasons;
    for (const auto& [reason, count] : counts) {
      sum += count;
      reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", reason, count);
    }
    return reasons.empty() ? fmt::format("{}", sum) : fmt::format("{} ({})", sum, reasons);
  };
  std::string line = fmt::format("{}: allowed {}, ", agent, totals.allowed);
  if (!totals.reported.empty()) line += fmt::format("reported {}, ", by_reason(totals.reported));
  return line + fmt::format("blocked {}", by_reason(totals.denied));
}

std::string end_line(const std::string& agent, const AgentEnd& end) {
  std::string line = end.totals ? summary(agent, *end.totals)
                                : agent + ": sluiced is gone, and its counts with it";
  if (end.totals && end.replacements > 0) line += ", counted since sluiced was started again";
  if (end.refused_datagrams > 0) {
    line += fmt::format(", refused {} UDP datagram{}", end.refused_datagrams,
                        end.refused_datagrams == 1 ? "" : "s");
  }
  return line;
}

std::string without_rules(const std::vector<std::uint16_t>& ports) {
  return fmt::format(
      "this kernel has no nf_tables: connections reach the policy on the ports it opens alone "
      "({}), "
      "the agent's own kernel refuses all others, refuses datagrams uncounted, and answers pings",
      ports.empty() ? "none" : fmt::format("{}", fmt::join(ports, ", ")));
}

}  // namespace sluice::netns
