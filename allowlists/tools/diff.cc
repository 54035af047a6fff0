#include "allowlists/tools/diff.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "allowlists/compile.h"
#include "allowlists/tools/diff_addresses.h"
#include "allowlists/tools/diff_agents.h"
#include "allowlists/tools/diff_hosts.h"
#include "allowlists/tools/diff_settings.h"

namespace sluice::allowlists {
namespace {

std::string name_of(int entry) { return fmt::format("e{}", entry); }
constexpr const char* empty_entry = "empty";

// Two rules that say the same, wherever they stand.
bool same_rule(const Rule& a, const Rule& b) {
  return a.effect == b.effect && a.scope == b.scope && a.name == b.name && a.range == b.range &&
         a.ports == b.ports && a.tls == b.tls && a.refuse_ech == b.refuse_ech;
}
bool same_rules(std::span<const Rule> a, std::span<const Rule> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_rule);
}

// A policy in which each entry is asked by its number, so that none hides another.
class Numbered {
 public:
  explicit Numbered(const PolicyText& text) : text_(text) {
    PolicyText renamed = text;
    for (std::size_t i = 0; i < renamed.agents.size(); ++i) {
      renamed.agents[i].pattern = name_of(static_cast<int>(i));
    }
    renamed.agents.push_back({.pattern = empty_entry});
    policy_ = compile(renamed);
    const auto is_regex = [](const Rule& rule) { return rule.scope == Scope::regex; };
    std::size_t erased = std::erase_if(renamed.never, is_regex);
    for (AgentEntry& entry : renamed.agents) erased += std::erase_if(entry.rules, is_regex);
    without_regexes_ = erased == 0 ? policy_ : compile(renamed);
    erased = std::erase_if(renamed.never, [](const Rule& r) { return r.scope == Scope::any; });
    guard_ = erased == 0 ? without_regexes_ : compile(renamed);
    number_lists();
  }

  DiffSide side(int entry) const {
    const std::string name = entry == EntryPair::none ? "none" : name_of(entry);
    DiffSide made;
    made.rules = &policy_->for_agent(name);
    made.without_regexes = &without_regexes_->for_agent(name);
    made.guard = &guard_->for_agent(entry == EntryPair::none ? empty_entry : name);
    made.never = text_.never;
    made.places = &text_.places;
    if (entry == EntryPair::none) return made;
    made.own = text_.agents[static_cast<std::size_t>(entry)].rules;
    made.mode = text_.agents[static_cast<std::size_t>(entry)].mode;
    return made;
  }

  // Equal for entries with the same mode, settings, and rules at the same places.
  int list_of(int entry) const {
    return entry == EntryPair::none ? EntryPair::none : lists_[static_cast<std::size_t>(entry)];
  }

 private:
  void number_lists() {
    std::map<std::pair<std::string, std::vector<std::uint32_t>>, int> known;
    for (const AgentEntry& entry : text_.agents) {
      std::vector<std::uint32_t> rules = {static_cast<std::uint32_t>(entry.mode)};
      for (const Rule& rule : entry.rules) rules.push_back(rule.id);
      std::pair key(settings_key(entry), std::move(rules));
      lists_.push_back(known.emplace(std::move(key), static_cast<int>(known.size())).first->second);
    }
  }

  const PolicyText& text_;
  std::shared_ptr<const Policy> policy_;
  std::shared_ptr<const Policy> without_regexes_;
  std::shared_ptr<const Policy> guard_;
  std::vector<int> lists_;
};

// What opens first; then names, then ranges; each by name, ranges by address.
void sort_statements(std::vector<DiffStatement>& statements) {
  std::stable_sort(
      statements.begin(), statements.end(), [](const DiffStatement& a, const DiffStatement& b) {
        const auto key = [](const DiffStatement& s) { return std::pair(s.change, s.kind); };
        if (key(a) != key(b)) return key(a) < key(b);
        return a.kind < DiffKind::any_other_address && a < b;
      });
}

class PolicyDiffer {
 public:
  PolicyDiffer(const PolicyText& before, const PolicyText& after)
      : before_text_(before),
        after_text_(after),
        before_(before),
        after_(after),
        same_floor_(same_rules(before.never, after.never)),
        floor_(before.never, after.never) {}

  void add(const EntryPair& pair) {
    const auto key = std::pair(before_.list_of(pair.before), after_.list_of(pair.after));
    auto at = group_of_.find(key);
    if (at == group_of_.end()) at = group_of_.emplace(key, add_group(pair)).first;
    if (at->second != nothing) made_.agents[at->second].agents.push_back(agents_of(pair));
  }

  PolicyDiff take(bool gave_up) {
    if (gave_up) {
      made_.notes.push_back(
          "the agent patterns overlap in too many ways: pairs of them are told that perhaps no "
          "name has");
    }
    if (embeds_) {
      made_.notes.push_back(
          "IPv6 addresses of Teredo, ISATAP and 64:ff9b:1::/48 are not told apart: each follows "
          "its range and the IPv4 addresses in it");
    }
    return std::move(made_);
  }

 private:
  static constexpr std::size_t nothing = static_cast<std::size_t>(-1);

  static const AgentEntry& entry_of(const PolicyText& text, int entry) {
    return text.agents[static_cast<std::size_t>(entry)];
  }

  std::size_t add_group(const EntryPair& pair) {
    const bool both = pair.before != EntryPair::none && pair.after != EntryPair::none;
    const DiffSides sides{before_.side(pair.before), after_.side(pair.after), both && same_floor_,
                          &floor_};
    std::vector<DiffSetting> settings;
    if (both)
      settings =
          diff_settings(entry_of(before_text_, pair.before), entry_of(after_text_, pair.after));
    std::vector<DiffStatement> statements;
    if (!(sides.same_floor && sides.before.mode == sides.after.mode &&
          same_rules(sides.before.own, sides.after.own))) {
      diff_hosts(sides, statements);
      embeds_ = diff_addresses(sides, statements) || embeds_;
    }
    if (statements.empty() && settings.empty()) return nothing;
    sort_statements(statements);
    const auto known =
        std::find_if(made_.agents.begin(), made_.agents.end(), [&](const AgentDiff& group) {
          return group.statements == statements && group.settings == settings;
        });
    if (known != made_.agents.end()) {
      return static_cast<std::size_t>(known - made_.agents.begin());
    }
    made_.agents.push_back({{}, std::move(statements), std::move(settings)});
    return made_.agents.size() - 1;
  }

  DiffAgents agents_of(const EntryPair& pair) const {
    DiffAgents made;
    made.example = pair.agent;
    const auto pattern = [](const PolicyText& text, int entry) -> std::optional<std::string> {
      if (entry == EntryPair::none) return {};
      return entry_of(text, entry).pattern;
    };
    made.from = pattern(before_text_, pair.before);
    made.to = pattern(after_text_, pair.after);
    made.name = pair.is_exact ? pair.agent : made.to ? *made.to : *made.from;
    made.headline = headline(pair, made);
    return made;
  }

  static std::string headline(const EntryPair& pair, const DiffAgents& agents) {
    if (pair.is_exact) return agents.name;
    if (agents.from == agents.to) return fmt::format("\"{}\"", agents.name);
    const auto entry = [](const std::optional<std::string>& pattern) {
      return pattern ? fmt::format("\"{}\"", *pattern) : std::string("no entry");
    };
    const std::string example =
        pair.agent.empty() ? "if there are any" : fmt::format("such as {}", pair.agent);
    return fmt::format("from {} to {} ({})", entry(agents.from), entry(agents.to), example);
  }

  const PolicyText& before_text_;
  const PolicyText& after_text_;
  Numbered before_;
  Numbered after_;
  bool same_floor_;
  DiffFloor floor_;
  bool embeds_ = false;
  std::map<std::pair<int, int>, std::size_t> group_of_;
  PolicyDiff made_;
};

}  // namespace

bool PolicyDiff::opens() const noexcept {
  const auto opens = [](const auto& told) { return told.change == DiffChange::opens; };
  return std::any_of(agents.begin(), agents.end(), [&](const AgentDiff& group) {
    return std::any_of(group.statements.begin(), group.statements.end(), opens) ||
           std::any_of(group.settings.begin(), group.settings.end(), opens);
  });
}

PolicyDiff diff(const PolicyText& before, const PolicyText& after,
                const std::optional<std::string>& agent) {
  PolicyDiffer differ(before, after);
  EntryPairs found;
  if (!agent) {
    found = entry_pairs(before, after);
  } else if (const auto pair = entry_pair_of(before, after, *agent)) {
    found.pairs.push_back(*pair);
  }
  for (const EntryPair& pair : found.pairs) differ.add(pair);
  return differ.take(found.gave_up);
}

}  // namespace sluice::allowlists
