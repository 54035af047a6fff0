// A whole policy as its files say it, checked, with groups and presets in place: what is compiled,
// compared and explained.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/limits.h"
#include "allowlists/policy.h"
#include "allowlists/rule.h"
#include "allowlists/sandbox.h"

namespace sluice::allowlists {

// Where each rule stands, by its id: "policy.yaml:31", "preset:github:4", "flag:1".
class RulePlaces {
 public:
  // Answers the id of the next rule.
  std::uint32_t add(std::string_view file, int line);
  std::string_view operator[](std::uint32_t id) const noexcept;
  std::size_t size() const noexcept { return ends_.size(); }

 private:
  std::string text_;
  std::vector<std::uint32_t> ends_;
};

struct AgentEntry {
  std::string pattern;  // is_agent_name() or is_agent_glob(); each once, no two globs of equal rank
  Mode mode = Mode::enforce;
  // Its own and those of the groups and presets it uses, by id; no id twice.
  std::vector<Rule> rules;
  std::string place;  // "policy.yaml:12"
  Limits limits;
  Sandbox sandbox;
};

struct PolicyText {
  std::vector<Rule> never;
  std::vector<AgentEntry> agents;  // in file order
  RulePlaces places;

  // The entry for an agent, as Policy::for_agent() finds it; null where there is none.
  const AgentEntry* entry_for(std::string_view agent) const noexcept;
};

// What `rule` is for, as a policy spells it: "api.example.com", "*.example.org", ".example.net",
// "10.0.0.0/8", "any", "/build-[0-9]+/" for a regex.
std::string subject_of(const Rule& rule);

}  // namespace sluice::allowlists
