// Writes what was found as rules of a policy: those that only the operator could have caused are
// live, all others are comments.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/discover/findings.h"
#include "base/error.h"

namespace sluice::allowlists::discover {

// Findings of one host that become one rule.
struct ProposedRule {
  Host host;
  bool is_tls_off = false;
  Trust trust = Trust::project;      // user: at least one trusted place names each host and port
  std::vector<std::uint16_t> ports;  // ascending
  std::vector<std::string_view> tools;
  std::vector<Place> places;
};

// Trusted ones first.
std::vector<ProposedRule> propose(const Findings& findings);

// A list of rules, indented as it stands under an agent's 'allow:'.
std::string to_yaml(const Findings& findings);
// One object: rules[], notes[], warnings[].
std::string to_json(const Findings& findings);
// The warnings, and what was left out, as complaints with a place.
std::vector<Error> complaints(const Findings& findings);

}  // namespace sluice::allowlists::discover
