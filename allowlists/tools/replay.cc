#include "allowlists/tools/replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "allowlists/address_guard.h"

namespace sluice::allowlists {
namespace {

void append_key(std::string& key, const AuditDecision& seen) {
  key.clear();
  key += seen.agent;
  key += '\0';
  key += seen.host->to_string();
  key += '\0';
  key += static_cast<char>(seen.port >> 8);
  key += static_cast<char>(seen.port & 0xff);
}

ReplayOutcome outcome_of(const AuditDecision& seen) {
  return {seen.verdict, seen.reason, seen.would_deny, seen.rule};
}

ReplayOutcome outcome_of(const Decision& decision) {
  return {decision.verdict, decision.reason, decision.would_deny, std::string(decision.rule)};
}

void sort_by_count(std::vector<ReplayChange>& changes) {
  std::sort(changes.begin(), changes.end(), [](const ReplayChange& a, const ReplayChange& b) {
    return std::tie(b.count, a.agent, a.host, a.port) < std::tie(a.count, b.agent, b.host, b.port);
  });
}

}  // namespace

Replay::Replay(std::shared_ptr<const Policy> policy, std::size_t cap)
    : policy_(std::move(policy)), cap_(cap) {}

Result<void> Replay::add(const AuditDecision& seen) {
  if (!is_policys_word(seen.verdict, seen.reason)) {
    ++totals_.not_judged[static_cast<std::size_t>(seen.reason)];
    return {};
  }
  const auto found = group_of(seen);
  if (!found) return Failure(found.error());
  Group& group = **found;
  const auto [now, by_address] = judge(seen, group);
  if (seen.passed() == bool{now}) {
    ++(now ? totals_.still_allowed : totals_.still_denied);
    return {};
  }
  std::unique_ptr<ReplayChange>& change = now ? group.allowed : group.blocked;
  if (!change) {
    change =
        std::make_unique<ReplayChange>(ReplayChange{seen.agent, seen.host->to_string(), seen.port});
  }
  ++change->count;
  if (seen.passed() && seen.would_deny) ++change->reported;
  change->old = outcome_of(seen);
  change->now = outcome_of(now);
  change->address = by_address ? seen.address : std::nullopt;
  return {};
}

Result<Replay::Group*> Replay::group_of(const AuditDecision& seen) {
  append_key(key_, seen);
  if (const auto known = groups_.find(key_); known != groups_.end()) return &known->second;
  if (groups_.size() == cap_) {
    return fail(Errc::bad_config, fmt::format("the log names more than {} targets", cap_),
                "read it one agent at a time: --agent NAME");
  }
  Group& group = groups_[key_];
  group.rules = &policy_->for_agent(seen.agent);
  group.decision = seen.port == 0 ? group.rules->decide_any_port(*seen.host)
                                  : group.rules->decide({*seen.host, seen.port});
  return &group;
}

Replay::Judged Replay::judge(const AuditDecision& seen, const Group& group) {
  if (!group.decision) return {group.decision};
  // No policy opens these; it may have been an address on which sluice itself listens.
  if (seen.reason == Reason::address_forbidden) return {{.reason = Reason::address_forbidden}};
  if (!seen.address) return {group.decision};
  const bool own =
      seen.reason == Reason::address_private && classify(*seen.address) == AddressClass::open;
  const Decision judged =
      group.rules->judge_address({*seen.host, seen.port}, *seen.address, OnThisMachine(own));
  if (!judged) return {judged, true};
  return {group.decision};
}

ReplayReport Replay::report() const {
  ReplayReport report = totals_;
  for (const auto& [key, group] : groups_) {
    if (group.blocked) report.newly_blocked.push_back(*group.blocked);
    if (group.allowed) report.newly_allowed.push_back(*group.allowed);
  }
  sort_by_count(report.newly_blocked);
  sort_by_count(report.newly_allowed);
  return report;
}

}  // namespace sluice::allowlists
