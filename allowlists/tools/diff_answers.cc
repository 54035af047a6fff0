#include "allowlists/tools/diff_answers.h"

namespace sluice::allowlists {
namespace {

// Beyond it the answers of one subject are told without telling their rules apart.
constexpr std::size_t most_rules_of_a_subject = 64;

bool passes(const DiffAnswer& answer) { return answer.verdict != Verdict::deny; }

// Leaves of the demands only what differs between two answers that both pass.
void forget_demands(Difference& difference) {
  DiffAnswer& old = difference.before;
  DiffAnswer& now = difference.after;
  const bool both = passes(old) && passes(now);
  if (!both || old.tls == now.tls) old.tls = now.tls = TlsMode::require;
  if (!both || old.refuse_ech == now.refuse_ech) old.refuse_ech = now.refuse_ech = false;
}

// A new statement, or its ports into one that differs in nothing but the rules it names.
struct Merged {
  Difference difference;
  std::vector<bool> ports = std::vector<bool>(65537, false);
};

Ports ports_of(const std::vector<bool>& set) {
  Ports ports;
  for (std::uint32_t port = 1; port <= 65535; ++port) {
    const auto number = static_cast<std::uint16_t>(port);
    if (set[port]) append_ports(ports, {number, number});
  }
  return ports;
}

std::map<Difference, Ports> without_rules(const std::map<Difference, Ports>& found) {
  std::map<Difference, Merged> merged;
  for (const auto& [difference, ports] : found) {
    Difference key = difference;
    key.before.rule.clear();
    key.after.rule.clear();
    Merged& into = merged.try_emplace(std::move(key), Merged{difference}).first->second;
    for (const PortRange& range : ports) {
      for (std::uint32_t port = range.first; port <= range.last; ++port) into.ports[port] = true;
    }
  }
  std::map<Difference, Ports> united;
  for (auto& [key, into] : merged) united.emplace(into.difference, ports_of(into.ports));
  return united;
}

}  // namespace

bool is_looser(const DiffAnswer& before, const DiffAnswer& after) noexcept {
  return after.tls > before.tls || (before.refuse_ech && !after.refuse_ech);
}

DiffAnswer answer_of(const Decision& decision) {
  return {decision.verdict, decision.reason, decision.tls, decision.refuse_ech,
          std::string(decision.rule)};
}

std::optional<Difference> compare(DiffAnswer before, DiffAnswer after) {
  const bool did = passes(before);
  const bool does = passes(after);
  if (!did && !does) return {};
  Difference difference{DiffChange::changes, std::move(before), std::move(after)};
  const DiffAnswer& old = difference.before;
  const DiffAnswer& now = difference.after;
  const bool same_demands = old.tls == now.tls && old.refuse_ech == now.refuse_ech;
  if (did && does && same_demands && old.verdict == now.verdict) return {};
  if (!did || (does && is_looser(old, now))) difference.change = DiffChange::opens;
  if (!does) difference.change = DiffChange::closes;
  forget_demands(difference);
  return difference;
}

void DiffByPort::add(const Difference& difference, PortRange range) {
  append_ports(found_[difference], range);
}

void DiffByPort::finish(const DiffStatement& model, std::vector<DiffStatement>& statements) {
  if (found_.size() > most_rules_of_a_subject) found_ = without_rules(found_);
  for (auto& [difference, ports] : found_) {
    DiffStatement statement = model;
    statement.change = difference.change;
    statement.before = difference.before;
    statement.after = difference.after;
    statement.ports = std::move(ports);
    statements.push_back(std::move(statement));
  }
}

}  // namespace sluice::allowlists
