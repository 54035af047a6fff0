// `sluice policy suggest`: the smallest policy that would have allowed what agents did.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "allowlists/tools/suggest.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {
namespace {

struct SuggestOptions {
  std::vector<std::string> logs;
  std::optional<std::string> agent;
  bool json = false;
};

// Answers 0, or 2 for what cannot be read.
int suggest(const SuggestOptions& options) {
  allowlists::Suggester suggester;
  const auto counts = allowlists::read_audit(
      options.logs, options.agent,
      [&suggester](const allowlists::AuditDecision& seen) { return suggester.add(seen); });
  if (!counts) return refuse(counts.error());
  for (const std::string& note : allowlists::notes_on(*counts)) {
    fmt::print(stderr, "sluice: {}\n", note);
  }
  const allowlists::Suggestion suggestion = suggester.suggestion();
  fmt::print("{}", options.json ? to_json(suggestion) + "\n" : to_yaml(suggestion));
  return 0;
}

}  // namespace

void add_policy_suggest(CLI::App& policy, Action& chosen) {
  CLI::App* command = policy.add_subcommand(
      "suggest", "The smallest policy that would have allowed what audit logs tell");
  const auto options = std::make_shared<SuggestOptions>();
  command->add_option("AUDIT", options->logs, "Audit logs; - is standard input")->required();
  command->add_option("--agent", options->agent, "NAME of the only agent to look at");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([&chosen, options] { chosen = [options] { return suggest(*options); }; });
}

}  // namespace sluice::launcher
