#include "allowlists/read_policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>
#include <utility>

#include "allowlists/agent_pattern.h"
#include "allowlists/language.h"
#include "allowlists/preset.h"
#include "allowlists/read_limits.h"
#include "allowlists/read_rule.h"
#include "allowlists/read_sandbox.h"
#include "allowlists/regex_index.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view rules_hint = "write a list of rules, or [] for none";

// Each is tried in turn when an agent registers, and compared with its equals at load.
constexpr std::size_t max_globs = 1000;

// Groups are copied into every entry that uses them, so that a decision asks one index.
constexpr std::size_t max_expanded_rules = 4'000'000;

constexpr std::size_t longest_name = 63;

std::string place(const Mark& mark) {
  return fmt::format("{}:{}:{}", mark.file, mark.line, mark.column);
}

bool are_too_large_together(const std::vector<Rule>& rules, const RegexSizes& regexes) {
  int size = 0;
  for (const Rule& rule : rules) {
    if (rule.scope == Scope::regex) size += regexes.of.find(rule.name)->second;
    if (size > largest_regex_programs) return true;
  }
  return false;
}

}  // namespace

void PolicyReader::read(const Source& source, std::size_t number) {
  auto tree = YamlTree::parse(source);
  if (!tree) {
    errors_.add(number, std::move(tree.error()));
    return;
  }
  Reporter report(source, number, errors_, warnings_);
  const YamlValue root(*tree);
  if (root.kind() != YamlKind::mapping) {
    report.error(root, fmt::format("the policy is {}, not a mapping", shown(root)),
                 "begin with 'version: 1'");
    return;
  }
  constexpr auto keys = keys_of(root_words);
  const auto fields = report.fields(root, keys);
  read_version(root, fields[0], report);
  if (fields[1]) {
    read_rules(*fields[1], Effect::deny, text_.never, report);
    check_regexes(text_.never, "under 'never'", {number, report.mark(fields[1]->key)});
  }
  if (fields[2]) read_groups(*fields[2], report);
  if (fields[3]) read_agents(*fields[3], report);
}

void PolicyReader::read_version(const YamlValue& root, const std::optional<Field>& version,
                                Reporter& report) {
  constexpr std::string_view hint = "write version: 1";
  if (!version) {
    report.error(root, "the policy does not say its version", std::string(hint));
  } else if (version->value.kind() != YamlKind::scalar || version->value.is_quoted() ||
             version->value.text() != "1") {
    report.error(
        version->key, fmt::format("unknown version {}", shown(version->value)),
        version->value.is_quoted() ? "write version: 1, without quotes" : std::string(hint));
  }
}

void PolicyReader::read_groups(const Field& groups, Reporter& report) {
  if (!report.expect(YamlKind::mapping, groups, "write NAME: [...] for each group")) return;
  for (std::size_t i = 0; i + 1 < groups.value.size(); i += 2) {
    read_group({groups.value[i], groups.value[i + 1]}, report);
  }
}

void PolicyReader::read_group(const Field& group, Reporter& report) {
  const std::string name(group.key.kind() == YamlKind::scalar ? group.key.text() : "");
  SharedRules shared{.place = {report.number(), report.mark(group.key)}};
  read_rules(group, Effect::allow, shared.rules, report);
  if (!is_agent_name(name)) {
    report.error(group.key, fmt::format("{} is no group name", shown(group.key)),
                 "use at most 63 letters, digits, '.', '_' and '-'");
    return;
  }
  const auto [at, added] = shared_.try_emplace(std::string(group_prefix) + name, std::move(shared));
  if (!added) {
    report.error(
        group.key,
        fmt::format("group {} is there already, at {}", quoted(name), place(at->second.place.mark)),
        "make one of the two");
    return;
  }
  group_names_.push_back(name);
}

void PolicyReader::read_agents(const Field& agents, Reporter& report) {
  if (!report.expect(YamlKind::mapping, agents, "write NAME: {allow: [...]} for each agent"))
    return;
  for (std::size_t i = 0; i + 1 < agents.value.size(); i += 2) {
    read_agent({agents.value[i], agents.value[i + 1]}, report);
  }
}

bool PolicyReader::add_entry(const Field& agent, Reporter& report) {
  const YamlValue& key = agent.key;
  const std::string pattern(key.kind() == YamlKind::scalar ? key.text() : "");
  if (!is_agent_name(pattern) && !is_agent_glob(pattern)) {
    report.error(key, fmt::format("{} is no agent name", shown(key)),
                 "use at most 63 letters, digits, '.', '_' and '-'; '*' stands for any of them");
    return false;
  }
  const auto [at, added] = entry_of_.emplace(pattern, entries_.size());
  if (!added) {
    report.error(key,
                 fmt::format("agent {} has an entry already, at {}", quoted(pattern),
                             place(entries_[at->second].place.mark)),
                 "make one of the two: entries replace each other, they never merge");
    return false;
  }
  entries_.push_back({.place = {report.number(), report.mark(key)}});
  text_.agents.push_back(
      {.pattern = pattern, .place = fmt::format("{}:{}", report.file(), key.line())});
  return true;
}

void PolicyReader::read_agent(const Field& agent, Reporter& report) {
  // What an entry that is refused says is still read, for its errors.
  AgentEntry refused;
  std::vector<Use> refused_uses;
  const bool added = add_entry(agent, report);
  AgentEntry& entry = added ? text_.agents.back() : refused;
  if (agent.value.kind() != YamlKind::mapping) {
    report.error(agent.key,
                 fmt::format("agent {} is {}, not a mapping", shown(agent.key), shown(agent.value)),
                 "write allow: [...] below it, or {} to deny everything");
    return;
  }
  constexpr auto keys = keys_of(agent_words);
  const auto fields = report.fields(agent.value, keys);
  if (fields[0]) read_mode(*fields[0], entry, report);
  if (fields[1]) read_uses(*fields[1], added ? entries_.back().uses : refused_uses, report);
  if (fields[4]) entry.limits = read_limits(*fields[4], report);
  if (fields[5]) entry.sandbox = read_sandbox(*fields[5], report);
  read_lists(fields[2] ? &*fields[2] : nullptr, fields[3] ? &*fields[3] : nullptr, entry.rules,
             report);
}

void PolicyReader::read_mode(const Field& mode, AgentEntry& entry, Reporter& report) {
  constexpr std::string_view choices = "write mode: enforce or mode: report";
  const bool is_text = mode.value.kind() == YamlKind::scalar;
  if (is_text && mode.value.text() == "report") {
    entry.mode = Mode::report;
  } else if (!is_text || mode.value.text() != "enforce") {
    report.error(mode.key, fmt::format("'mode' is {}", shown(mode.value)), std::string(choices));
  }
}

void PolicyReader::read_uses(const Field& list, std::vector<Use>& uses, Reporter& report) {
  constexpr std::string_view hint = "write use: [preset:NAME, group:NAME]";
  if (!report.expect(YamlKind::sequence, list, hint)) return;
  for (std::size_t i = 0; i < list.value.size(); ++i) {
    const YamlValue item = list.value[i];
    const std::string name(item.kind() == YamlKind::scalar ? item.text() : "");
    if (!name.starts_with(group_prefix) && !name.starts_with(preset_prefix)) {
      report.error(item, fmt::format("{} is no group and no preset", shown(item)),
                   std::string(hint));
      continue;
    }
    const auto same = std::find_if(uses.begin(), uses.end(),
                                   [&](const Use& other) { return other.name == name; });
    if (same != uses.end()) {
      report.error(item,
                   fmt::format("{} stands here twice, first on line {}", quoted(name),
                               same->place.mark.line),
                   "keep one of them");
      continue;
    }
    uses.push_back({name, {report.number(), report.mark(item)}});
  }
}

// In file order, so that the ids of the rules are.
void PolicyReader::read_lists(const Field* allow, const Field* deny, std::vector<Rule>& rules,
                              Reporter& report) {
  const auto place_of = [](const Field& field) {
    return std::pair(field.key.line(), field.key.column());
  };
  const bool deny_first = allow != nullptr && deny != nullptr && place_of(*deny) < place_of(*allow);
  if (deny_first) read_rules(*deny, Effect::deny, rules, report);
  if (allow != nullptr) read_rules(*allow, Effect::allow, rules, report);
  if (deny != nullptr && !deny_first) read_rules(*deny, Effect::deny, rules, report);
}

void PolicyReader::read_rules(const Field& list, Effect effect, std::vector<Rule>& rules,
                              Reporter& report) {
  if (!report.expect(YamlKind::sequence, list, rules_hint)) return;
  rules.reserve(rules.size() + list.value.size());
  for (std::size_t i = 0; i < list.value.size(); ++i) {
    const YamlValue value = list.value[i];
    auto rule = read_rule(value, effect, regexes_, report);
    if (!rule) continue;
    rule->id = text_.places.add(report.file(), value.line());
    rules.push_back(std::move(*rule));
  }
}

void PolicyReader::finish() {
  expand_uses();
  check_groups();
  check_globs();
}

void PolicyReader::error(const Place& where, std::string what, std::string hint) {
  errors_.add(where.file, {Errc::bad_config, std::move(what), std::move(hint), where.mark});
}

// A preset is read when the first entry uses it.
PolicyReader::SharedRules* PolicyReader::find_preset_rules(const std::string& name) {
  const Preset* preset = find_preset(std::string_view(name).substr(preset_prefix.size()));
  if (preset == nullptr) return nullptr;
  const Source source{name, std::string(preset->text)};
  const auto tree = YamlTree::parse(source);
  if (!tree) {
    errors_.add(0, tree.error());
    return nullptr;
  }
  Reporter report(source, 0, errors_, warnings_);
  SharedRules shared;
  const YamlValue list(*tree);
  read_rules({list, list}, Effect::allow, shared.rules, report);
  return &shared_.emplace(name, std::move(shared)).first->second;
}

const std::vector<Rule>* PolicyReader::find_shared(const Use& use) {
  const bool is_preset = use.name.starts_with(preset_prefix);
  const auto known = shared_.find(use.name);
  SharedRules* found = known != shared_.end() ? &known->second : nullptr;
  if (found == nullptr && is_preset) found = find_preset_rules(use.name);
  if (found != nullptr) {
    found->used = true;
    return &found->rules;
  }
  std::vector<std::string> names = group_names_;
  if (is_preset) {
    names.clear();
    for (const Preset& preset : presets()) names.emplace_back(preset.name);
  }
  const std::string_view name = std::string_view(use.name).substr(use.name.find(':') + 1);
  const std::string near = text::nearest(name.substr(0, longest_name), names);
  error(use.place, fmt::format("there is no {} {}", is_preset ? "preset" : "group", quoted(name)),
        !near.empty() ? fmt::format("did you mean '{}'?", near)
        : is_preset   ? "'sluice policy presets' lists them"
                      : "define it under 'groups:'");
  return nullptr;
}

void PolicyReader::expand_uses() {
  std::size_t total = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    std::vector<Rule>& rules = text_.agents[i].rules;
    for (const Use& use : entries_[i].uses) {
      const std::vector<Rule>* shared = find_shared(use);
      if (shared == nullptr) continue;
      total += shared->size();
      if (total > max_expanded_rules) {
        error(use.place,
              fmt::format("more than {} rules once every 'use' is written out", max_expanded_rules),
              "let one pattern stand for the agents that use the same");
        return;
      }
      rules.insert(rules.end(), shared->begin(), shared->end());
    }
    std::sort(rules.begin(), rules.end(), [](const Rule& a, const Rule& b) { return a.id < b.id; });
    check_regexes(rules, fmt::format("of agent {}", quoted(text_.agents[i].pattern)),
                  entries_[i].place);
  }
}

void PolicyReader::check_regexes(const std::vector<Rule>& rules, std::string_view whose,
                                 const Place& where) {
  if (!are_too_large_together(rules, regexes_)) return;
  error(where, fmt::format("the regexes {} are too large together", whose),
        "use host: \"*.example.com\" where it says the same");
}

void PolicyReader::check_groups() {
  for (const auto& [name, shared] : shared_) {
    if (shared.used || name.starts_with(preset_prefix)) continue;
    error(shared.place, fmt::format("no agent uses {}", quoted(name)),
          "remove it, or add it to the 'use' of an agent");
  }
}

void PolicyReader::check_globs() {
  std::vector<std::size_t> globs;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!is_agent_name(text_.agents[i].pattern)) globs.push_back(i);
  }
  if (globs.size() > max_globs) {
    error(entries_[globs[max_globs]].place, fmt::format("more than {} agent patterns", max_globs),
          "use exact agent names");
    return;
  }
  for (std::size_t i = 0; i < globs.size(); ++i) {
    const std::string& later = text_.agents[globs[i]].pattern;
    const auto here = globs.begin() + static_cast<std::ptrdiff_t>(i);
    const auto equal = std::find_if(globs.begin(), here, [&](std::size_t other) {
      const std::string& earlier = text_.agents[other].pattern;
      return !glob_precedes(earlier, later) && !glob_precedes(later, earlier) &&
             globs_overlap(earlier, later);
    });
    if (equal == here) continue;
    error(entries_[globs[i]].place,
          fmt::format("{} and {} ({}) fit the same agents equally well", quoted(later),
                      quoted(text_.agents[*equal].pattern), place(entries_[*equal].place.mark)),
          "give one of them a longer literal beginning");
  }
}

}  // namespace sluice::allowlists
