// `sluice policy diff`: what a change of policy opens and closes.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "allowlists/tools/diff.h"
#include "base/text.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {
namespace {

struct DiffOptions {
  std::string before;
  std::string after;
  std::optional<std::string> agent;
  bool json = false;
};

void print_json(const allowlists::PolicyDiff& difference) {
  std::string_view separator = "[";
  const auto print = [&](const std::string& object) {
    fmt::print("{}{}", separator, object);
    separator = ",\n";
  };
  for (const allowlists::AgentDiff& group : difference.agents) {
    for (const allowlists::DiffAgents& agents : group.agents) {
      for (const auto& told : group.statements) print(allowlists::diff_json(agents, told));
      for (const auto& told : group.settings) print(allowlists::diff_json(agents, told));
    }
  }
  fmt::print("{}]\n", separator == "[" ? "[" : "");
}

// The differences on stdout. Answers 0 when nothing opens, 1 when something does, 2 for a bad file
// or agent.
int compare(const DiffOptions& options) {
  if (options.agent && !allowlists::is_agent_name(*options.agent)) {
    return refuse({Errc::bad_config,
                   fmt::format("'{}' is not an agent's name", text::printable(*options.agent)),
                   "sluice policy diff OLD NEW --agent NAME",
                   {}});
  }
  if (const auto twice = stdin_twice({options.before, options.after})) return refuse(*twice);
  const auto before = read_policy_or_tell(options.before);
  const auto after = read_policy_or_tell(options.after);
  if (!before || !after) return usage_status;
  const allowlists::PolicyDiff difference =
      allowlists::diff(before->text, after->text, options.agent);
  for (const std::string& note : difference.notes) fmt::print(stderr, "sluice: {}\n", note);
  if (options.json) {
    print_json(difference);
  } else {
    fmt::print("{}", allowlists::diff_text(difference));
  }
  return difference.opens() ? 1 : 0;
}

}  // namespace

void add_policy_diff(CLI::App& policy, Action& chosen) {
  CLI::App* command = policy.add_subcommand("diff", "What a change of policy opens and closes");
  command->footer(
      "Exact for names, suffixes, ports and address ranges; names that only a host_regex names are "
      "told by rule. limits: and sandbox: are told as well.\n"
      "Exit status: 0 nothing opens, 1 something opens, 2 an error.\n"
      "Example: sluice policy diff policy.yaml policy-new.yaml --agent coder-1");
  const auto options = std::make_shared<DiffOptions>();
  command->add_option("OLD", options->before, "Policy file or directory as it was")->required();
  command->add_option("NEW", options->after, "Policy file or directory as it will be")->required();
  // An empty NAME is a name that is wrong; CLI11 would make none of it.
  command->add_option_function<std::string>(
      "--agent", [options](const std::string& name) { options->agent = name; },
      "NAME of the only agent to tell of");
  command->add_flag("--json", options->json, "A JSON array");
  command->callback([&chosen, options] { chosen = [options] { return compare(*options); }; });
}

}  // namespace sluice::launcher
