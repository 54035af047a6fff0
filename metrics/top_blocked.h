// Which hosts were refused most, of each agent: bounded, whatever agents ask for.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "metrics/audit.h"

namespace sluice::metrics {

// What an agent wanted and was refused, or would be but for report mode.
struct Blocked {
  std::string agent;
  std::string host;  // what the agent spelled, unescaped
  std::uint16_t port = 0;
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::not_listed;  // of report mode: what enforcement would have said
  std::string rule;
  std::uint64_t count = 0;
  std::uint64_t over = 0;  // of `count`, so many at most were of other hosts
  std::chrono::system_clock::time_point last;
};

// Counts by the space-saving algorithm (Metwally et al., 2005): a host that is none of the kept
// ones takes the place and the count of the rarest. Each agent has places of its own, so that none
// can crowd out what another is shown with. One thread.
class TopBlocked {
 public:
  static constexpr std::size_t hosts_per_agent = 32;
  static constexpr std::size_t most_agents = 256;  // of more, those that were refused last are kept

  // Of a line that is no refusal, nothing is kept. May throw std::bad_alloc.
  void add(const AuditLine& line);
  // Refusals of `agent` that no line tells.
  void leave_out(const std::string& agent, std::uint64_t count);

  // Most first.
  std::vector<Blocked> all() const;
  struct LeftOut {
    std::string agent;
    std::uint64_t count = 0;
  };
  std::vector<LeftOut> left_out() const;

 private:
  struct Row {
    std::vector<Blocked> hosts;
    std::uint64_t left_out = 0;
    std::uint64_t used = 0;  // the higher, the later
  };
  Row& row_of(const std::string& agent);

  std::map<std::string, Row> rows_;
  std::uint64_t uses_ = 0;
};

}  // namespace sluice::metrics
