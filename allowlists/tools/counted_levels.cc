#include "allowlists/tools/counted_levels.h"

#include <algorithm>
#include <string_view>

#include "allowlists/tools/mentions.h"

namespace sluice::allowlists {
namespace {

using Kind = Outcome::Kind;

constexpr char exact = '=';
constexpr char apex = '.';
constexpr char below = '*';
constexpr char regex = '/';
constexpr char any = 'a';
constexpr char range = '#';

TlsMode tls_of(const Rule& rule, std::uint16_t port) {
  return rule.tls.value_or(port == 443 ? TlsMode::require : TlsMode::match);
}

bool is_of_every_port(const Rule& rule) {
  return rule.effect == Effect::deny && rule.ports.empty();
}

// The name behind the first dot; "" when there is none.
std::string_view parent(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
}

bool holds_own_loopback(std::string_view suffix) {
  return own_loopback_name == suffix || own_loopback_name.ends_with('.' + std::string(suffix));
}

void append(std::string& key, const Outcome& outcome, std::uint16_t port) {
  for (const int part : {port >> 8, port & 0xff, static_cast<int>(outcome.kind),
                         static_cast<int>(outcome.tls), static_cast<int>(outcome.refuse_ech)}) {
    key += static_cast<char>(part);
  }
}

}  // namespace

void FirstTwo::add(const Rule& rule) noexcept {
  if (rules[0] == nullptr) {
    rules[0] = &rule;
  } else if (rules[1] == nullptr && rules[0] != &rule) {
    rules[1] = &rule;
  }
}

CountedLevel::Port* CountedLevel::find(std::uint16_t port) noexcept {
  const auto at = std::lower_bound(ports.begin(), ports.end(), port,
                                   [](const Port& a, std::uint16_t b) { return a.port < b; });
  return at != ports.end() && at->port == port ? &*at : nullptr;
}

const CountedLevel::Port* CountedLevel::find(std::uint16_t port) const noexcept {
  return const_cast<CountedLevel*>(this)->find(port);
}

Outcome CountedLevel::says(const Port& port) const noexcept {
  if (denies_of_all + port.denies > 0) return {.kind = Kind::deny};
  for (std::size_t tls = 0; tls < port.allows.size(); ++tls) {
    if (port.allows[tls] == 0) continue;
    return {
        .kind = Kind::allow, .tls = static_cast<TlsMode>(tls), .refuse_ech = port.refuse_ech > 0};
  }
  return says_of_others();
}

Outcome CountedLevel::says_of_others() const noexcept {
  if (denies_of_all > 0) return {.kind = Kind::deny};
  return {.kind = allows > 0 ? Kind::wrong_port : Kind::none};
}

bool CountedLevel::denies(std::uint16_t port) const noexcept {
  const Port* listed = find(port);
  return denies_of_all > 0 || (listed != nullptr && listed->denies > 0);
}

const Rule* CountedLevel::who_denies(std::uint16_t port, const Rule& rule) const noexcept {
  if (const Rule* by = denying_all.beside(rule)) return by;
  const Port* listed = find(port);
  return listed != nullptr ? listed->denying.beside(rule) : nullptr;
}

CountedLevels::CountedLevels(std::span<const Rule> rules) {
  std::unordered_map<Key, std::vector<const Rule*>> placed;
  placed.reserve(rules.size());
  for (const Rule& rule : rules) {
    for (Key& key : keys_of(rule)) placed[std::move(key)].push_back(&rule);
    has_regexes_ = has_regexes_ || rule.scope == Scope::regex;
    if (rule.scope != Scope::cidr) continue;
    (rule.range.network.is_v4() ? lengths_v4_ : lengths_v6_).insert(rule.range.length);
  }
  levels_.reserve(placed.size());
  for (auto& [key, together] : placed) {
    std::sort(together.begin(), together.end(),
              [](const Rule* a, const Rule* b) { return a->id < b->id; });
    CountedLevel& level = levels_[key];
    fill(level, together);
    level.shape = shape_of(level);
  }
}

std::vector<CountedLevels::Key> CountedLevels::keys_of(const Rule& rule) {
  switch (rule.scope) {
    case Scope::exact:
      return {exact + rule.name};
    case Scope::below:
      return {below + rule.name};
    case Scope::tree:
      return {below + rule.name, apex + rule.name};
    case Scope::regex:
      return {regex + rule.name};
    case Scope::any:
      return {key_of_any()};
    case Scope::cidr:
      return {range + rule.range.to_string()};
  }
  return {};
}

CountedLevels::Key CountedLevels::key_of_name(const std::string& name) { return exact + name; }

CountedLevels::Key CountedLevels::key_of_any() { return Key(1, any); }

void CountedLevels::fill(CountedLevel& level, std::span<const Rule* const> rules) {
  std::vector<std::uint16_t> listed;
  for (const Rule* rule : rules) {
    const auto ports = ports_of(*rule);
    listed.insert(listed.end(), ports.begin(), ports.end());
  }
  std::sort(listed.begin(), listed.end());
  listed.erase(std::unique(listed.begin(), listed.end()), listed.end());
  for (const std::uint16_t port : listed) level.ports.push_back({.port = port});
  level.first = rules.front();
  for (const Rule* rule : rules) {
    count(level, *rule, 1);
    if (is_of_every_port(*rule)) level.denying_all.add(*rule);
    for (const std::uint16_t port : ports_of(*rule)) {
      CountedLevel::Port* at = level.find(port);
      (rule->effect == Effect::allow ? at->allowing : at->denying).add(*rule);
    }
  }
}

void CountedLevels::count(CountedLevel& level, const Rule& rule, std::uint32_t change) noexcept {
  level.rules += change;
  if (rule.effect == Effect::allow) level.allows += change;
  if (is_of_every_port(rule)) level.denies_of_all += change;
  for (const std::uint16_t port : ports_of(rule)) {
    CountedLevel::Port& at = *level.find(port);
    if (rule.effect == Effect::deny) {
      at.denies += change;
      continue;
    }
    at.allows[static_cast<std::size_t>(tls_of(rule, port))] += change;
    if (rule.refuse_ech) at.refuse_ech += change;
  }
}

void CountedLevels::count(const Rule& rule, std::uint32_t change) noexcept {
  for (const Key& key : keys_of(rule)) count(*find(key), rule, change);
}

std::uint32_t CountedLevels::shape_of(const CountedLevel& level) {
  std::string key;
  const Outcome others = level.says_of_others();
  append(key, others, 0);
  for (const CountedLevel::Port& port : level.ports) {
    const Outcome said = level.says(port);
    if (said.kind != others.kind) append(key, said, port.port);
  }
  return shapes_.emplace(std::move(key), static_cast<std::uint32_t>(shapes_.size())).first->second;
}

CountedLevel* CountedLevels::find(const Key& key) noexcept {
  const auto found = levels_.find(key);
  return found == levels_.end() ? nullptr : &found->second;
}

const CountedLevel* CountedLevels::find(const Key& key) const noexcept {
  return const_cast<CountedLevels*>(this)->find(key);
}

void CountedLevels::add_enclosing(const Key& key, std::vector<Key>& keys) const {
  const Cidr inner = *Cidr::parse(std::string_view(key).substr(1));
  const auto& lengths = inner.network.is_v4() ? lengths_v4_ : lengths_v6_;
  for (auto at = lengths.lower_bound(inner.length); at != lengths.begin();) {
    --at;
    keys.push_back(range + Cidr::around(inner.network, *at).to_string());
  }
}

std::vector<CountedLevels::Key> CountedLevels::keys_behind(const Key& key) const {
  std::vector<Key> keys;
  const std::string_view name = std::string_view(key).substr(1);
  switch (key.front()) {
    case range:
      add_enclosing(key, keys);
      return keys;
    case any:
      return keys;
    case exact:
      keys.push_back(apex + std::string(name));
      [[fallthrough]];
    case apex:
    case below:
      for (std::string_view up = parent(name); !up.empty(); up = parent(up)) {
        keys.push_back(below + std::string(up));
      }
      [[fallthrough]];
    default:
      keys.push_back(key_of_any());
      return keys;
  }
}

std::vector<const CountedLevel*> CountedLevels::behind(const Key& key) const {
  std::vector<const CountedLevel*> levels;
  for (const Key& next : keys_behind(key)) {
    if (const CountedLevel* level = find(next)) levels.push_back(level);
  }
  return levels;
}

const CountedLevel* CountedLevels::heir(const Key& key) const {
  for (const Key& next : keys_behind(key)) {
    // A regex may come between; and `any` says nothing of this machine's loopback.
    const bool unsure =
        next.front() == any && (has_regexes_ || key.front() == regex ||
                                holds_own_loopback(std::string_view(key).substr(1)));
    if (unsure) return nullptr;
    if (const CountedLevel* level = find(next)) return level;
  }
  return nullptr;
}

}  // namespace sluice::allowlists
