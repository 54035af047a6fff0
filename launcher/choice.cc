#include "launcher/choice.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <random>

#include "base/text.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

std::string quoted(std::string_view untrusted) {
  return fmt::format("'{}'", text::printable(untrusted));
}

// Anything but a clear "there is none" counts: a policy that cannot be looked at is not skipped.
bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

std::string find_policy(const RunOptions& options, const Machine& machine) {
  if (options.policy) return *options.policy;
  for (std::string& path : policy_search_path(machine)) {
    if (exists(path)) return std::move(path);
  }
  return {};
}

std::string default_agent(const Machine& machine, const PolicyChoice* policy) {
  if (policy != nullptr && policy->policy->exact_agents().size() == 1) {
    return policy->policy->exact_agents().front();
  }
  std::random_device random;
  return fmt::format("{}-{:04x}", machine.user, random() & 0xffffU);
}

std::string known_agents(const allowlists::Policy& policy) {
  std::string names;
  for (const std::string& name : policy.exact_agents()) {
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "add it under 'agents:' of the policy"
                       : fmt::format("add it under 'agents:', or name one of: {}", names);
}

}  // namespace

std::vector<std::string> policy_search_path(const Machine& machine) {
  const std::string named = machine.variable("XDG_CONFIG_HOME");
  const std::string config = named.starts_with('/') ? absolute(named) : machine.home + "/.config";
  return {config + "/sluice/policy.yaml", "/etc/sluice/policy.yaml"};
}

tl::expected<PolicyChoice, Errors> choose_policy(const RunOptions& options,
                                                 const Machine& machine) {
  PolicyChoice choice;
  choice.path = find_policy(options, machine);
  if (choice.path.empty()) {
    choice.policy = allowlists::empty_policy();
    return choice;
  }
  auto sources = allowlists::read_sources(choice.path);
  if (!sources) return tl::unexpected(Errors{sources.error()});
  auto loaded = allowlists::load(*sources);
  if (!loaded) return tl::unexpected(loaded.error());
  choice.sources = std::move(*sources);
  choice.policy = std::move(loaded->policy);
  choice.warnings = std::move(loaded->warnings);
  return choice;
}

Result<std::string> choose_agent(const RunOptions& options, const Machine& machine,
                                 const PolicyChoice* policy) {
  std::string name = options.agent ? *options.agent : default_agent(machine, policy);
  if (!allowlists::is_agent_name(name)) {
    return fail(Errc::bad_config, fmt::format("{} is not an agent's name", quoted(name)),
                "--agent takes 1 to 63 letters, digits, '.', '_' and '-', a letter or digit first");
  }
  const bool judged = policy != nullptr && !policy->path.empty();
  if (judged && !policy->policy->knows(name)) {
    return fail(Errc::bad_config,
                fmt::format("no entry of {} matches the agent '{}'", quoted(policy->path), name),
                known_agents(*policy->policy));
  }
  return name;
}

Result<std::optional<std::string>> choose_proxy(const RunOptions& options,
                                                SharedExists shared_exists) {
  if (options.proxy == "embedded") return std::optional<std::string>{};
  if (!options.proxy && !shared_exists) return std::optional<std::string>{};
  const std::string socket = options.proxy.value_or(shared_socket);
  if (options.policy || options.audit) {
    return fail(
        Errc::bad_config,
        fmt::format("the sluiced at {} decides and audits by its own configuration: --{} would "
                    "mean nothing",
                    quoted(socket), options.policy ? "policy" : "audit"),
        "add --proxy embedded to run with your own");
  }
  return std::optional<std::string>(socket);
}

}  // namespace sluice::launcher
