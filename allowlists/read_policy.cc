#include "allowlists/read_policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>
#include <utility>

#include "allowlists/agent_pattern.h"
#include "allowlists/read_rule.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view rules_hint = "write a list of rules, or [] for none";

// Each is tried in turn when an agent registers, and compared with its equals at load.
constexpr std::size_t max_globs = 1000;

std::string place(const Mark& mark) {
  return fmt::format("{}:{}:{}", mark.file, mark.line, mark.column);
}

}  // namespace

void PolicyReader::read(const Source& source, std::size_t number) {
  if (first_file_.empty()) first_file_ = source.name;
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
  constexpr std::array<std::string_view, 3> keys = {"version", "never", "agents"};
  const auto fields = report.fields(root, keys);
  read_version(root, fields[0], report);
  if (fields[1]) read_rules(*fields[1], Effect::deny, text_.never, report);
  if (fields[2]) read_agents(*fields[2], report);
}

void PolicyReader::read_version(const YamlValue& root, const std::optional<Field>& version,
                                Reporter& report) {
  constexpr std::string_view hint = "write version: 1";
  if (!version) {
    report.error(root, "the policy does not say its version", std::string(hint));
  } else if (version->value.kind() != YamlKind::scalar || version->value.is_quoted() ||
             version->value.text() != "1") {
    report.error(version->key, fmt::format("unknown version {}", shown(version->value)),
                 std::string(hint));
  }
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
                             place(entries_[at->second].mark)),
                 "make one of the two: entries replace each other, they never merge");
    return false;
  }
  entries_.push_back({report.number(), report.mark(key)});
  text_.agents.push_back({pattern, {}});
  return true;
}

void PolicyReader::read_agent(const Field& agent, Reporter& report) {
  // The rules of an entry that is refused are still read, for their errors.
  std::vector<Rule> refused;
  std::vector<Rule>& rules = add_entry(agent, report) ? text_.agents.back().rules : refused;
  if (agent.value.kind() != YamlKind::mapping) {
    report.error(agent.key,
                 fmt::format("agent {} is {}, not a mapping", shown(agent.key), shown(agent.value)),
                 "write allow: [...] below it, or {} to deny everything");
    return;
  }
  constexpr std::array<std::string_view, 2> keys = {"allow", "deny"};
  const auto fields = report.fields(agent.value, keys);
  const auto place_of = [](const Field& field) {
    return std::pair(field.key.line(), field.key.column());
  };
  const bool deny_first = fields[0] && fields[1] && place_of(*fields[1]) < place_of(*fields[0]);
  if (deny_first) read_rules(*fields[1], Effect::deny, rules, report);
  if (fields[0]) read_rules(*fields[0], Effect::allow, rules, report);
  if (fields[1] && !deny_first) read_rules(*fields[1], Effect::deny, rules, report);
}

void PolicyReader::read_rules(const Field& list, Effect effect, std::vector<Rule>& rules,
                              Reporter& report) {
  if (!report.expect(YamlKind::sequence, list, rules_hint)) return;
  rules.reserve(rules.size() + list.value.size());
  for (std::size_t i = 0; i < list.value.size(); ++i) {
    const YamlValue value = list.value[i];
    auto rule = read_rule(value, effect, report);
    if (!rule) continue;
    rule->id = text_.places.add(report.file(), value.line());
    rules.push_back(std::move(*rule));
  }
}

void PolicyReader::finish() {
  std::vector<std::size_t> globs;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!is_agent_name(text_.agents[i].pattern)) globs.push_back(i);
  }
  if (globs.size() > max_globs) {
    const Entry& entry = entries_[globs[max_globs]];
    errors_.add(entry.file,
                {Errc::bad_config, fmt::format("more than {} agent patterns", max_globs),
                 "use exact agent names", entry.mark});
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
    const Entry& entry = entries_[globs[i]];
    errors_.add(entry.file,
                {Errc::bad_config,
                 fmt::format("{} and {} ({}) fit the same agents equally well", quoted(later),
                             quoted(text_.agents[*equal].pattern), place(entries_[*equal].mark)),
                 "give one of them a longer literal beginning", entry.mark});
  }
}

}  // namespace sluice::allowlists
