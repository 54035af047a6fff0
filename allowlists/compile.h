// Turns checked rules into the policy that decides.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/policy.h"
#include "allowlists/rule.h"

namespace sluice::allowlists {

// Where each rule stands, "policy.yaml:31", by its id.
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
  std::vector<Rule> rules;
};

struct PolicyText {
  std::vector<Rule> never;
  std::vector<AgentEntry> agents;  // in file order
  RulePlaces places;
};

std::shared_ptr<const Policy> compile(PolicyText text);

}  // namespace sluice::allowlists
