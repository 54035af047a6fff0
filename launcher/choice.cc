#include "launcher/choice.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <cerrno>
#include <iterator>
#include <random>

#include "base/text.h"
#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

constexpr std::uint16_t https = 443;

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

// A sentence when the policy refuses what the rule of an --allow names.
std::optional<std::string> refused_allow(const allowlists::Rule& rule,
                                         const allowlists::AgentRules& rules) {
  const bool is_address = rule.scope == allowlists::Scope::cidr;
  const int whole = rule.range.network.is_v4() ? 32 : 128;
  if (is_address ? rule.range.length != whole : rule.scope != allowlists::Scope::exact) return {};
  const auto host =
      is_address ? allowlists::Host::of(rule.range.network) : allowlists::Host::parse(rule.name);
  if (!host) return {};
  const allowlists::Target target{*host, rule.ports.empty() ? https : rule.ports.front()};
  const allowlists::Decision decision = rules.decide(target);
  if (decision) return {};
  return fmt::format("--allow does not open {}: {} by {}", target.to_string(),
                     reason_name(decision.reason), text::printable(decision.rule));
}

// The option that only an embedded sluiced obeys, or "".
std::string_view for_an_embedded_one(const RunOptions& options) {
  if (options.policy) return "policy";
  if (options.audit) return "audit";
  if (!options.allow.empty()) return "allow";
  return options.report ? "report" : "";
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
  return policy_from(std::move(choice.path), std::move(*sources));
}

tl::expected<PolicyChoice, Errors> policy_from(std::string path,
                                               std::vector<allowlists::Source> sources) {
  auto read = allowlists::read_text(sources);
  if (!read) return tl::unexpected(std::move(read.error()));
  PolicyChoice choice;
  choice.path = std::move(path);
  choice.sources = std::move(sources);
  choice.text = std::move(read->text);
  choice.policy = allowlists::compile(choice.text);
  choice.warnings = std::move(read->warnings);
  return choice;
}

tl::expected<void, Errors> amend_policy(const RunOptions& options, const std::string& agent,
                                        PolicyChoice& choice) {
  choice.amendment = {agent, options.allow, std::nullopt};
  if (options.report) choice.amendment.mode = allowlists::Mode::report;
  if (choice.amendment.empty()) return {};
  if (choice.path.empty()) choice.text = allowlists::bare_policy(agent);
  auto amended = allowlists::amend(std::move(choice.text), choice.amendment);
  if (!amended) return tl::unexpected(std::move(amended.error()));
  choice.text = std::move(amended->text);
  choice.policy = allowlists::compile(choice.text);
  std::move(amended->warnings.begin(), amended->warnings.end(),
            std::back_inserter(choice.warnings));
  return {};
}

std::vector<std::string> policy_notices(const RunOptions& options, const std::string& agent,
                                        const PolicyChoice& choice) {
  std::vector<std::string> notices;
  const allowlists::AgentRules& rules = choice.policy->for_agent(agent);
  if (rules.mode() == allowlists::Mode::report) {
    notices.push_back(options.audit
                          ? "report mode: what the policy would block passes and is logged"
                          : "report mode: what the policy would block passes and is counted; "
                            "--audit FILE logs it");
  }
  const allowlists::AgentEntry* const entry = choice.text.entry_for(agent);
  if (choice.amendment.allow.empty() || entry == nullptr) return notices;
  const auto added = static_cast<std::ptrdiff_t>(choice.amendment.allow.size());
  for (auto rule = entry->rules.end() - added; rule != entry->rules.end(); ++rule) {
    if (auto refused = refused_allow(*rule, rules)) notices.push_back(std::move(*refused));
  }
  return notices;
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
  if (const std::string_view meaningless = for_an_embedded_one(options); !meaningless.empty()) {
    return fail(
        Errc::bad_config,
        fmt::format("the sluiced at {} decides and audits by its own configuration: --{} would "
                    "mean nothing",
                    quoted(socket), meaningless),
        "add --proxy embedded to run with your own");
  }
  return std::optional<std::string>(socket);
}

}  // namespace sluice::launcher
