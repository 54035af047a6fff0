// Decides again, under another policy, what audit logs tell of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "allowlists/policy.h"
#include "allowlists/tools/audit_reader.h"
#include "base/error.h"
#include "base/ip_address.h"

namespace sluice::allowlists {

// How one decision came out.
struct ReplayOutcome {
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::not_listed;
  std::optional<Reason> would_deny;
  std::string rule;
};

// Decisions of the log about one agent and target that come out otherwise.
struct ReplayChange {
  std::string agent;
  std::string host;
  std::uint16_t port = 0;  // 0: a DNS question
  std::uint64_t count = 0;
  std::uint64_t reported = 0;  // of these: passed only because of report mode
  ReplayOutcome old;           // of the last of them
  ReplayOutcome now;
  std::optional<IpAddress> address;  // that the new policy refuses although it allows the name
};

struct ReplayReport {
  // Most decisions first.
  std::vector<ReplayChange> newly_blocked;
  std::vector<ReplayChange> newly_allowed;
  std::uint64_t still_allowed = 0;
  std::uint64_t still_denied = 0;
  // By reason: denials that are not a policy's (is_policys_word).
  std::array<std::uint64_t, reason_count> not_judged{};

  bool differs() const noexcept { return !newly_blocked.empty() || !newly_allowed.empty(); }
};

// Memory grows with distinct (agent, host, port), not with decisions.
class Replay {
 public:
  static constexpr std::size_t default_cap = 1'000'000;

  explicit Replay(std::shared_ptr<const Policy> policy, std::size_t cap = default_cap);

  // An address the log names is judged too: one of the machine's own is known as such only where
  // the log says address_private of an address of the open internet. Fails when more than `cap`
  // distinct targets have been seen.
  Result<void> add(const AuditDecision& seen);
  ReplayReport report() const;

 private:
  struct Group {
    const AgentRules* rules = nullptr;
    Decision decision;  // of the name or address alone
    std::unique_ptr<ReplayChange> blocked;
    std::unique_ptr<ReplayChange> allowed;
  };
  struct Judged {
    Decision decision;
    bool by_address = false;
  };

  Result<Group*> group_of(const AuditDecision& seen);
  static Judged judge(const AuditDecision& seen, const Group& group);

  std::shared_ptr<const Policy> policy_;
  std::size_t cap_;
  std::string key_;  // of the last group looked for; kept for its memory
  std::unordered_map<std::string, Group> groups_;
  ReplayReport totals_;  // without the changes
};

// What a person reads: sorted tables, everything an agent chose escaped.
std::string to_text(const ReplayReport& report);
// One object: newly_blocked[], newly_allowed[], unchanged{}, not_judged{}, skipped{}.
std::string to_json(const ReplayReport& report, const AuditCounts& counts);

}  // namespace sluice::allowlists
