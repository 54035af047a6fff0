#include "allowlists/tools/diff_floor.h"

#include <algorithm>
#include <string>

namespace sluice::allowlists {
namespace {

bool is_of_name(const Rule& rule) { return rule.scope != Scope::below; }
bool is_of_names_below(const Rule& rule) { return rule.scope != Scope::exact; }

// The order of names read from their right end, in which those below one name are neighbours.
bool ends_before(std::string_view a, std::string_view b) {
  return std::lexicographical_compare(a.rbegin(), a.rend(), b.rbegin(), b.rend());
}

// Whether both refuse every port of what `names` says that some rule is for.
template <class Names>
bool is_closed(const DiffFloor::Name& name, Names names) {
  const auto some = [&](const std::vector<const Rule*>& rules, auto holds) {
    return std::any_of(rules.begin(), rules.end(),
                       [&](const Rule* rule) { return names(*rule) && holds(*rule); });
  };
  const auto exists = [](const Rule&) { return true; };
  const auto denies_all = [](const Rule& rule) { return rule.ports.empty(); };
  const auto& [before, after] = name.rules;
  if (!some(before, exists) && !some(after, exists)) return true;
  return some(before, denies_all) && some(after, denies_all);
}

}  // namespace

DiffFloor::DiffFloor(std::span<const Rule> before, std::span<const Rule> after) {
  std::size_t side = 0;
  for (const std::span<const Rule> rules : {before, after}) {
    for (const Rule& rule : rules) {
      if (rule.scope == Scope::any) any_[side].push_back(&rule);
      if (rule.scope <= Scope::tree) names_[rule.name].rules[side].push_back(&rule);
    }
    ++side;
  }
  for (auto& [name, rules] : names_) {
    rules.closed = is_closed(rules, is_of_name) && is_closed(rules, is_of_names_below);
    if (!rules.closed) open_.push_back(name);
    by_end_.push_back(name);
  }
  std::sort(by_end_.begin(), by_end_.end(), ends_before);
}

const DiffFloor::Name* DiffFloor::find(std::string_view name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

std::span<const std::string_view> DiffFloor::below(std::string_view name) const {
  const std::string suffix = '.' + std::string(name);
  const auto begin = std::lower_bound(by_end_.begin(), by_end_.end(), suffix, ends_before);
  const auto end = std::find_if_not(begin, by_end_.end(),
                                    [&](std::string_view one) { return one.ends_with(suffix); });
  return {begin, end};
}

}  // namespace sluice::allowlists
