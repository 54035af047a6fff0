#include "allowlists/tools/shadowed.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>

#include "allowlists/language.h"
#include "allowlists/tools/counted_levels.h"
#include "allowlists/tools/mentions.h"

namespace sluice::allowlists {
namespace {

using How = Shadowed::How;
using Key = CountedLevels::Key;

bool equal(const Outcome& a, const Outcome& b) {
  const bool alike = a.kind == b.kind;
  return a.kind != Outcome::Kind::allow ? alike
                                        : alike && a.tls == b.tls && a.refuse_ech == b.refuse_ech;
}

// What a level says of the ports that a rule lists, and of all others.
std::vector<Outcome> said_beside(const CountedLevel& level, const Rule& rule) {
  std::vector<Outcome> said = {level.says_of_others()};
  for (const std::uint16_t port : ports_of(rule)) said.push_back(level.says(*level.find(port)));
  return said;
}

std::vector<std::vector<Outcome>> said_of(const CountedLevels& levels, const Rule& rule) {
  std::vector<std::vector<Outcome>> said;
  for (const Key& key : CountedLevels::keys_of(rule)) {
    said.push_back(said_beside(*levels.find(key), rule));
  }
  return said;
}

bool equal(const std::vector<Outcome>& a, const std::vector<Outcome>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Outcome& one, const Outcome& other) { return equal(one, other); });
}

// A rule of the same level that says what `rule` says.
const Rule* equally_specific(const CountedLevels& levels, const Rule& rule) {
  const CountedLevel& level = *levels.find(CountedLevels::keys_of(rule).front());
  if (const Rule* by = level.denying_all.beside(rule)) return by;
  for (const std::uint16_t port : ports_of(rule)) {
    const CountedLevel::Port& at = *level.find(port);
    if (const Rule* by = at.denying.beside(rule)) return by;
    if (const Rule* by = at.allowing.beside(rule)) return by;
  }
  return level.first;
}

// The levels under never: each of which sees everything that reaches `key`, a level of `rule`.
std::vector<const CountedLevel*> floor_of(const CountedLevels& never, const Rule& rule,
                                          const Key& key) {
  std::vector<Key> keys = {key};
  const bool own_name = rule.scope == Scope::tree && key != CountedLevels::keys_of(rule).front();
  if (own_name) keys.push_back(CountedLevels::key_of_name(rule.name));
  if (rule.scope == Scope::cidr) keys.push_back(CountedLevels::key_of_any());
  std::vector<const CountedLevel*> levels;
  for (const Key& one : keys) {
    if (const CountedLevel* level = never.find(one)) levels.push_back(level);
  }
  const auto behind = never.behind(key);
  levels.insert(levels.end(), behind.begin(), behind.end());
  return levels;
}

// The rule that denies the whole of `rule` under never:, or the first of several that do together;
// `rule` itself does not count, and when it stands there it has been taken away.
const Rule* denied_by_floor(const CountedLevels& never, const Rule& rule) {
  const Rule* by = nullptr;
  std::vector<std::uint16_t> ports = ports_of(rule);
  if (ports.empty()) ports.push_back(0);  // stands for those that no rule lists
  for (const Key& key : CountedLevels::keys_of(rule)) {
    const auto levels = floor_of(never, rule, key);
    for (const std::uint16_t port : ports) {
      const auto at = std::find_if(levels.begin(), levels.end(),
                                   [&](const CountedLevel* level) { return level->denies(port); });
      if (at == levels.end()) return nullptr;
      if (by == nullptr) by = (*at)->who_denies(port, rule);
    }
  }
  return by;
}

class Shadows {
 public:
  explicit Shadows(const PolicyText& text)
      : text_(text), never_(text.never), uses_(text.places.size()), found_(text.places.size()) {}

  std::vector<Shadowed> find() {
    for (const AgentEntry& entry : text_.agents) {
      for (const Rule& rule : entry.rules) ++uses_[rule.id].entries;
    }
    for (auto rule = text_.never.rbegin(); rule != text_.never.rend(); ++rule) try_never(*rule);
    for (const AgentEntry& entry : text_.agents) try_entry(entry);
    std::vector<Shadowed> all;
    for (std::size_t id = 0; id < found_.size(); ++id) {
      if (found_[id] && uses_[id].shadowed >= uses_[id].entries) all.push_back(*found_[id]);
    }
    return all;
  }

 private:
  struct Uses {
    std::uint32_t entries = 0;
    std::uint32_t shadowed = 0;
  };

  bool is_preset(const Rule& rule) const {
    return text_.places[rule.id].starts_with(preset_prefix);
  }

  void add(const Shadowed& one) {
    std::optional<Shadowed>& slot = found_[one.rule->id];
    const bool removable = one.removable && (!slot || slot->removable);
    if (!slot) slot = one;
    slot->removable = removable;
    ++uses_[one.rule->id].shadowed;
  }

  void try_never(const Rule& rule) {
    never_.remove(rule);
    if (const Rule* by = denied_by_floor(never_, rule)) {
      const bool same = CountedLevels::keys_of(*by) == CountedLevels::keys_of(rule);
      add({&rule, by, same ? How::same : How::broader});
    } else {
      never_.restore(rule);
    }
  }

  // Rules of this entry alone are given up before those that others have too, later ones before
  // earlier ones, so that all that are found can go together.
  void try_entry(const AgentEntry& entry) {
    CountedLevels levels(entry.rules);
    std::vector<const Rule*> order;
    for (const Rule& rule : entry.rules) {
      if (!is_preset(rule)) order.push_back(&rule);
    }
    std::sort(order.begin(), order.end(), [&](const Rule* a, const Rule* b) {
      const bool shared_a = uses_[a->id].entries > 1;
      const bool shared_b = uses_[b->id].entries > 1;
      return shared_a != shared_b ? shared_b : a->id > b->id;
    });
    for (const Rule* rule : order) try_rule(levels, *rule);
  }

  void try_rule(CountedLevels& levels, const Rule& rule) {
    const Rule* floor = text_.never.empty() ? nullptr : denied_by_floor(never_, rule);
    if (floor != nullptr) {
      // It stays: without it less specific rules may decide other ports.
      add({&rule, floor, How::never, false});
      return;
    }
    const auto before = said_of(levels, rule);
    levels.remove(rule);
    if (const auto found = without(levels, rule, before)) {
      add(*found);
      return;
    }
    levels.restore(rule);
    if (const Rule* by = all_denied(levels, rule)) add({&rule, by, How::denied, false});
  }

  // What took the place of a rule that has been removed, where nothing changed.
  static std::optional<Shadowed> without(const CountedLevels& levels, const Rule& rule,
                                         const std::vector<std::vector<Outcome>>& before) {
    const auto after = said_of(levels, rule);
    const auto keys = CountedLevels::keys_of(rule);
    const Rule* broader = nullptr;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const CountedLevel& level = *levels.find(keys[i]);
      if (level.rules > 0) {
        if (!equal(before[i], after[i])) return {};
        continue;
      }
      const CountedLevel* heir = levels.heir(keys[i]);
      if (heir == nullptr || heir->shape != level.shape) return {};
      broader = heir->first;
    }
    if (broader != nullptr) return Shadowed{&rule, broader, How::broader};
    const Rule* by = equally_specific(levels, rule);
    const bool outdone = rule.effect == Effect::allow && by->effect == Effect::deny;
    return Shadowed{&rule, by, outdone ? How::denied : How::same};
  }

  // The rule that denies the first port of an allow rule, where each of them is denied.
  static const Rule* all_denied(const CountedLevels& levels, const Rule& rule) {
    if (rule.effect == Effect::deny) return nullptr;
    const auto ports = ports_of(rule);
    const Rule* by = nullptr;
    for (const Key& key : CountedLevels::keys_of(rule)) {
      const CountedLevel& level = *levels.find(key);
      const bool all = std::all_of(ports.begin(), ports.end(),
                                   [&](std::uint16_t port) { return level.denies(port); });
      if (!all) return nullptr;
      if (by == nullptr) by = level.who_denies(ports.front(), rule);
    }
    return by;
  }

  const PolicyText& text_;
  CountedLevels never_;
  std::vector<Uses> uses_;                      // by rule id
  std::vector<std::optional<Shadowed>> found_;  // by rule id
};

}  // namespace

std::vector<Shadowed> shadowed_rules(const PolicyText& text) { return Shadows(text).find(); }

}  // namespace sluice::allowlists
