// The environment of an agent: an allowlist of the person's, what was asked for, and the proxy's
// variables.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::launcher {

struct EnvironmentRequest {
  std::string home;
  std::string user;
  std::vector<std::string> inherited;                            // environ(7) of the person
  std::vector<std::pair<std::string, std::string>> assignments;  // --env, the last word
  std::vector<std::string> passed;                               // --pass-env
};

// K=V, sorted by name. Of the person's own variables only PATH SHELL TERM LANG LC_* TZ COLORTERM
// NO_COLOR and the passed ones; HOME USER LOGNAME are the sandbox's. Enforcement depends on none of
// them.
std::vector<std::string> agent_environment(const EnvironmentRequest& request);

}  // namespace sluice::launcher
