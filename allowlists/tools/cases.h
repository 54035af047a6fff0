// What an operator expects of a policy, kept beside it, and where the policy differs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"

namespace sluice::allowlists {

// One expectation. What is not said may be anything.
struct PolicyCase {
  Mark where;
  std::string agent;
  Target target;
  std::optional<IpAddress> address;  // what the name resolves to, for the address guard
  Verdict verdict = Verdict::deny;
  std::optional<Reason> reason;
  std::optional<std::string> rule;  // "policy.yaml:7"
};

// Reads a target as it is typed: a host, HOST:PORT or a URL.
using ReadTarget = std::function<Result<Target>(std::string_view)>;

// A file of cases:
//
//   cases:
//     - agent: coder-1
//       allow: [api.example.com, "git.example.com:22"]
//       deny: [gist.example.com]
//       report: [new.example.com]
//     - agent: coder-1
//       target: db.example.com:5432
//       address: 10.0.0.1
//       verdict: allow
//       reason: listed
//       rule: policy.yaml:7
//
// All errors at once, each with its place and a hint.
tl::expected<std::vector<PolicyCase>, std::vector<Error>> read_cases(const Source& source,
                                                                     const ReadTarget& read_target);

// What the policy makes of a case. With an address the target is judged first and the address, if
// the target passes, afterwards, as it is when a connection is dialled.
Decision decide(const Policy& policy, const PolicyCase& one);

bool is_as_expected(const PolicyCase& one, const Decision& decision);

}  // namespace sluice::allowlists
