// Adds to a policy what a person asks for on the command line, for one agent and one run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"

namespace sluice::allowlists {

struct Amendment {
  std::string agent;               // is_agent_name()
  std::vector<std::string> allow;  // HOST[:PORT] each
  std::optional<Mode> mode;        // instead of what the entry says

  bool empty() const noexcept { return allow.empty() && !mode; }
};

// The policy of a run that has no policy file: an entry for the agent, in which nothing is allowed.
PolicyText bare_policy(std::string_view agent);

// Gives the agent an exact entry of its own, made of the one that is for it now, with the mode and
// an allow rule for each HOST[:PORT]; the N-th rule's place is "flag:N". HOST is written as behind
// `host:` in a policy, or is an address or a range of them: "10.0.0.8:5432", "10.0.0.0/8",
// "[2001:db8::/32]:443". Without PORT the rule means 80 and 443. All errors at once, in order; one
// when no entry is for the agent. The warnings are about the new rules.
tl::expected<ReadText, std::vector<Error>> amend(PolicyText text, const Amendment& amendment);

}  // namespace sluice::allowlists
