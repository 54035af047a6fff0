#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "allowlists/policy_text.h"
#include "allowlists/tools/suggest_rules.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t agents_needed = 3;
constexpr std::size_t most_globs = 1000;  // a policy with more does not load
constexpr std::size_t least_random = 4;   // `sluice run` names agents USER- and four hex digits

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

// "coder-" of coder-7 and coder-3fa9; empty for coder-main. Words such as "face" are no numbers.
std::string_view stem_of(std::string_view agent) {
  const std::size_t dash = agent.rfind('-');
  if (dash == std::string_view::npos) return {};
  const std::string_view tail = agent.substr(dash + 1);
  const bool number = !tail.empty() && std::all_of(tail.begin(), tail.end(), is_digit);
  const bool random = tail.size() >= least_random &&
                      std::all_of(tail.begin(), tail.end(), is_hex_digit) &&
                      std::any_of(tail.begin(), tail.end(), is_digit);
  return number || random ? agent.substr(0, dash + 1) : std::string_view();
}

// Equal for entries that open the same.
std::string rules_text(const SuggestedEntry& entry) {
  std::string text;
  for (const auto& [rule, traffic, hosts] : entry.rules) {
    text += fmt::format("{}{}", subject_of(rule), rule.tls ? " match" : "");
    for (const std::uint16_t port : rule.ports) text += fmt::format(" {}", port);
    text += '\n';
  }
  return text;
}

void merge_into(SuggestedEntry& entry, const SuggestedEntry& other) {
  entry.agents.insert(entry.agents.end(), other.agents.begin(), other.agents.end());
  for (std::size_t i = 0; i < entry.rules.size(); ++i) {
    entry.rules[i].traffic.add(other.rules[i].traffic);
    std::set<std::string> hosts(entry.rules[i].hosts.begin(), entry.rules[i].hosts.end());
    hosts.insert(other.rules[i].hosts.begin(), other.rules[i].hosts.end());
    entry.rules[i].hosts.assign(hosts.begin(), hosts.end());
  }
}

}  // namespace

std::vector<SuggestedEntry> merge_agents(std::vector<SuggestedEntry> entries) {
  std::map<std::string_view, std::map<std::string, std::vector<std::size_t>>> families;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string_view stem = stem_of(entries[i].pattern);
    if (!stem.empty() && !entries[i].rules.empty()) {
      families[stem][rules_text(entries[i])].push_back(i);
    }
  }
  std::vector<std::pair<std::size_t, std::string>> globs;  // which entry becomes which
  std::vector<bool> merged(entries.size(), false);
  for (const auto& [stem, by_rules] : families) {
    const auto largest = std::max_element(
        by_rules.begin(), by_rules.end(),
        [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    const std::vector<std::size_t>& members = largest->second;
    if (members.size() < agents_needed || globs.size() == most_globs) continue;
    for (std::size_t i = 1; i < members.size(); ++i) {
      merge_into(entries[members.front()], entries[members[i]]);
      merged[members[i]] = true;
    }
    globs.emplace_back(members.front(), fmt::format("{}*", stem));
  }
  for (auto& [entry, glob] : globs) entries[entry].pattern = std::move(glob);
  std::vector<SuggestedEntry> kept;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!merged[i]) kept.push_back(std::move(entries[i]));
  }
  return kept;
}

}  // namespace sluice::allowlists
