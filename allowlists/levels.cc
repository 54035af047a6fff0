#include <algorithm>
#include <bit>
#include <utility>

#include "allowlists/rule_index.h"

namespace sluice::allowlists {
namespace {

constexpr std::array<std::uint16_t, 2> default_ports = {80, 443};

// The ports a rule lists; none for a deny rule that means all of them.
std::span<const std::uint16_t> listed_ports(const Rule& rule) {
  if (rule.ports.empty() && rule.effect == Effect::allow) return default_ports;
  return rule.ports;
}

Outcome outcome_of(const Rule& rule, std::uint16_t port) {
  if (rule.effect == Effect::deny) return {.kind = Outcome::Kind::deny, .rule = rule.id};
  return {.kind = Outcome::Kind::allow,
          .tls = rule.tls.value_or(port == 443 ? TlsMode::require : TlsMode::match),
          .refuse_ech = rule.refuse_ech,
          .rule = rule.id};
}

// `later` stands behind `outcome` in the file: deny wins, then the stricter demand.
void combine(Outcome& outcome, const Outcome& later) {
  if (outcome.kind == Outcome::Kind::deny) return;
  if (later.kind == Outcome::Kind::deny) {
    outcome = later;
    return;
  }
  outcome.tls = std::min(outcome.tls, later.tls);
  outcome.refuse_ech = outcome.refuse_ech || later.refuse_ech;
}
static_assert(TlsMode::require < TlsMode::match && TlsMode::match < TlsMode::off);

// Sorts `ports` and leaves one outcome for each port.
void unite(std::vector<Levels::OnPort>& ports) {
  std::stable_sort(ports.begin(), ports.end(),
                   [](const auto& a, const auto& b) { return a.port < b.port; });
  std::size_t kept = 0;
  for (std::size_t i = 1; i < ports.size(); ++i) {
    if (ports[i].port == ports[kept].port) {
      combine(ports[kept].outcome, ports[i].outcome);
    } else {
      ports[++kept] = ports[i];
    }
  }
  if (!ports.empty()) ports.resize(kept + 1);
}

}  // namespace

Levels::Id Levels::add(std::span<const Rule* const> rules) {
  Level level{.first_port = static_cast<std::uint32_t>(ports_.size())};
  const Rule* deny_all = nullptr;
  std::vector<OnPort> ports;
  for (const Rule* rule : rules) {
    level.has_allow = level.has_allow || rule->effect == Effect::allow;
    const auto listed = listed_ports(*rule);
    if (listed.empty() && deny_all == nullptr) deny_all = rule;
    for (const std::uint16_t port : listed) ports.push_back({port, outcome_of(*rule, port)});
  }
  unite(ports);
  if (deny_all != nullptr) {
    level.rest = outcome_of(*deny_all, 0);
    // Only a deny rule that stands before it answers for its own ports.
    std::erase_if(ports, [&](const OnPort& on) {
      return on.outcome.kind != Outcome::Kind::deny || on.outcome.rule > deny_all->id;
    });
  } else if (level.has_allow) {
    level.rest = {.kind = Outcome::Kind::wrong_port, .rule = rules.front()->id};
  }
  level.port_count = static_cast<std::uint32_t>(ports.size());
  ports_.insert(ports_.end(), ports.begin(), ports.end());
  levels_.push_back(level);
  return static_cast<Id>(levels_.size() - 1);
}

std::span<const Levels::OnPort> Levels::ports(Id level) const noexcept {
  return std::span(ports_).subspan(levels_[level].first_port, levels_[level].port_count);
}

Outcome Levels::find(Id level, std::uint16_t port) const noexcept {
  const auto listed = ports(level);
  const auto at = std::lower_bound(listed.begin(), listed.end(), port,
                                   [](const OnPort& a, std::uint16_t b) { return a.port < b; });
  return at != listed.end() && at->port == port ? at->outcome : levels_[level].rest;
}

void HashTable::reserve(std::size_t count) {
  if (count == 0) return;
  slots_.assign(std::bit_ceil(2 * count), Slot{});
  mask_ = slots_.size() - 1;
}

void HashTable::insert(std::uint32_t hash, std::uint32_t value) noexcept {
  std::size_t i = hash & mask_;
  while (slots_[i].value != absent) i = (i + 1) & mask_;
  slots_[i] = {hash, value};
}

}  // namespace sluice::allowlists
