#include "allowlists/policy_text.h"

#include <fmt/core.h>

#include <algorithm>

#include "allowlists/agent_pattern.h"

namespace sluice::allowlists {

std::uint32_t RulePlaces::add(std::string_view file, int line) {
  text_ += file;
  text_ += ':';
  text_ += std::to_string(line);
  ends_.push_back(static_cast<std::uint32_t>(text_.size()));
  return static_cast<std::uint32_t>(ends_.size() - 1);
}

std::string_view RulePlaces::operator[](std::uint32_t id) const noexcept {
  const std::size_t begin = id == 0 ? 0 : ends_[id - 1];
  return std::string_view(text_).substr(begin, ends_[id] - begin);
}

const AgentEntry* PolicyText::entry_for(std::string_view agent) const noexcept {
  if (!is_agent_name(agent)) return nullptr;
  const AgentEntry* best = nullptr;
  for (const AgentEntry& entry : agents) {
    if (entry.pattern == agent) return &entry;
    if (!is_agent_glob(entry.pattern) || !glob_matches(entry.pattern, agent)) continue;
    if (best == nullptr || glob_precedes(entry.pattern, best->pattern)) best = &entry;
  }
  return best;
}

std::string subject_of(const Rule& rule) {
  switch (rule.scope) {
    case Scope::exact:
      return rule.name;
    case Scope::below:
      return "*." + rule.name;
    case Scope::tree:
      return "." + rule.name;
    case Scope::regex:
      return fmt::format("/{}/", rule.name);
    case Scope::any:
      return "any";
    case Scope::cidr:
      return rule.range.to_string();
  }
  return {};
}

}  // namespace sluice::allowlists
