// Finds every rule that speaks of a target and which of them decides, for a person who asks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "allowlists/policy_text.h"

namespace sluice::allowlists {

struct Mention {
  const Rule* rule = nullptr;  // of the policy's text
  bool never = false;          // stands under `never:`
  bool has_port = false;       // it speaks of the target's port
  // Counts from the most specific; rules of one specificity share it.
  std::size_t level = 0;
};

struct Mentions {
  const AgentEntry* entry = nullptr;  // null where no entry is for the agent
  // Those under `never:` first, then the entry's; the most specific first, then in file order.
  std::vector<Mention> rules;
  // The one of `rules` that Decision::rule names; nothing where that is "default".
  std::optional<std::size_t> decides;
};

// Reads every rule, so that its answer owes nothing to the index that enforces.
Mentions mentions_of(const PolicyText& text, std::string_view agent, const Target& target);

// Sorted, each once; none for a deny rule of every port.
std::vector<std::uint16_t> ports_of(const Rule& rule);

}  // namespace sluice::allowlists
