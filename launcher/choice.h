// Which policy, which agent and which sluiced a run uses.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "allowlists/amend.h"
#include "allowlists/load.h"
#include "base/error.h"
#include "launcher/options.h"
#include "launcher/plan/machine.h"

namespace sluice::launcher {

using Errors = std::vector<Error>;

// The machine's sluiced, if it runs one, listens here.
inline constexpr const char* shared_socket = "/run/sluice/handover.sock";

struct PolicyChoice {
  std::string path;  // "" when there is none: nothing is allowed
  std::vector<allowlists::Source> sources;
  allowlists::PolicyText text;  // of the sources
  std::shared_ptr<const allowlists::Policy> policy;
  std::vector<Error> warnings;
  allowlists::Amendment amendment;  // what --allow and --report add; in `policy` already
};

// --policy, else $XDG_CONFIG_HOME/sluice/policy.yaml (~/.config without it), else
// /etc/sluice/policy.yaml, else none. A file that exists and cannot be read is an error.
tl::expected<PolicyChoice, Errors> choose_policy(const RunOptions& options, const Machine& machine);

// A policy that was read already; `path` is its name in sentences.
tl::expected<PolicyChoice, Errors> policy_from(std::string path,
                                               std::vector<allowlists::Source> sources);

// Adds --allow and --report for `agent`. A run without a policy gets one of these alone.
tl::expected<void, Errors> amend_policy(const RunOptions& options, const std::string& agent,
                                        PolicyChoice& choice);

// What a person should know about a run's policy beyond its warnings: that it only reports, and
// which --allow it refuses nevertheless.
std::vector<std::string> policy_notices(const RunOptions& options, const std::string& agent,
                                        const PolicyChoice& choice);

// Where choose_policy() looks without --policy, in order.
std::vector<std::string> policy_search_path(const Machine& machine);

// --agent, else the policy's only exact entry, else USER-xxxx (four hex digits). Refused: what is
// no agent's name, and what no entry of a policy matches. `policy` is null for a shared sluiced,
// which judges names itself.
Result<std::string> choose_agent(const RunOptions& options, const Machine& machine,
                                 const PolicyChoice* policy);

// The socket of a shared sluiced, or nothing for an embedded one. `shared_exists`: whether the
// machine's socket is there.
using SharedExists = YesNo<struct SharedExistsTag>;
Result<std::optional<std::string>> choose_proxy(const RunOptions& options,
                                                SharedExists shared_exists);

}  // namespace sluice::launcher
