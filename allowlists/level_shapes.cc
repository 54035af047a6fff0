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

Outcome outcome_of(const Rule& rule, std::uint16_t port, std::uint32_t first_rule) {
  const std::uint32_t number = rule.id - first_rule;
  if (rule.effect == Effect::deny) return {.kind = Outcome::Kind::deny, .rule = number};
  return {.kind = Outcome::Kind::allow,
          .tls = rule.tls.value_or(port == 443 ? TlsMode::require : TlsMode::match),
          .refuse_ech = rule.refuse_ech,
          .rule = number};
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
void unite(std::vector<LevelShapes::OnPort>& ports) {
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

// The bytes of `on`, without what the compiler puts between its members.
void append(std::string& key, const LevelShapes::OnPort& on) {
  const std::array<std::uint32_t, 3> words = {on.port,
                                              static_cast<std::uint32_t>(on.outcome.kind) << 16 |
                                                  static_cast<std::uint32_t>(on.outcome.tls) << 8 |
                                                  static_cast<std::uint32_t>(on.outcome.refuse_ech),
                                              on.outcome.rule};
  for (const std::uint32_t word : words) {
    for (unsigned shift = 0; shift < 32; shift += 8) key += static_cast<char>(word >> shift);
  }
}

}  // namespace

Level LevelShapes::add(std::span<const Rule* const> rules) {
  const std::uint32_t first_rule = rules.front()->id;
  Shape shape;
  bool has_allow = false;
  const Rule* deny_all = nullptr;
  std::vector<OnPort> ports;
  for (const Rule* rule : rules) {
    has_allow = has_allow || rule->effect == Effect::allow;
    const auto listed = listed_ports(*rule);
    if (listed.empty() && deny_all == nullptr) deny_all = rule;
    for (const std::uint16_t port : listed) {
      ports.push_back({port, outcome_of(*rule, port, first_rule)});
    }
  }
  unite(ports);
  if (deny_all != nullptr) {
    shape.rest = outcome_of(*deny_all, 0, first_rule);
    // Only a deny rule that stands before it answers for its own ports.
    std::erase_if(ports, [&](const OnPort& on) {
      return on.outcome.kind != Outcome::Kind::deny || on.outcome.rule > shape.rest.rule;
    });
  } else if (has_allow) {
    shape.rest = {.kind = Outcome::Kind::wrong_port, .rule = 0};
  }
  return {shape_of(shape, ports), first_rule};
}

std::uint32_t LevelShapes::shape_of(Shape shape, const std::vector<OnPort>& ports) {
  std::string key;
  append(key, {0, shape.rest});
  for (const OnPort& on : ports) append(key, on);
  const auto [known, added] = known_.emplace(std::move(key), shapes_.size());
  if (added) {
    shape.first_port = static_cast<std::uint32_t>(ports_.size());
    shape.port_count = static_cast<std::uint32_t>(ports.size());
    ports_.insert(ports_.end(), ports.begin(), ports.end());
    shapes_.push_back(shape);
  }
  return known->second;
}

std::span<const LevelShapes::OnPort> LevelShapes::ports(Level level) const noexcept {
  const Shape& shape = shapes_[level.shape];
  return std::span(ports_).subspan(shape.first_port, shape.port_count);
}

Outcome LevelShapes::find(Level level, std::uint16_t port) const noexcept {
  const auto listed = ports(level);
  const auto at = std::lower_bound(listed.begin(), listed.end(), port,
                                   [](const OnPort& a, std::uint16_t b) { return a.port < b; });
  Outcome outcome =
      at != listed.end() && at->port == port ? at->outcome : shapes_[level.shape].rest;
  outcome.rule += level.first_rule;
  return outcome;
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
