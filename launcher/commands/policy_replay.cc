// `sluice policy replay`: what another policy makes of what agents did.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "allowlists/tools/replay.h"
#include "base/text.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {
namespace {

struct ReplayOptions {
  std::string file;
  std::vector<std::string> logs;
  std::optional<std::string> agent;
  bool json = false;
};

// Answers 0 when nothing comes out otherwise, 1 when something does, 2 for what cannot be read.
int replay(const ReplayOptions& options) {
  std::vector<std::string> inputs = options.logs;
  inputs.push_back(options.file);
  if (const auto twice = stdin_twice(inputs)) return refuse(*twice);
  const auto read = read_policy_or_tell(options.file);
  if (!read) return usage_status;
  allowlists::Replay again(read->policy);
  const auto counts = allowlists::read_audit(
      options.logs, options.agent,
      [&again](const allowlists::AuditDecision& seen) { return again.add(seen); });
  if (!counts) return refuse(counts.error());
  for (const std::string& note : allowlists::notes_on(*counts)) {
    fmt::print(stderr, "sluice: {}\n", note);
  }
  const allowlists::ReplayReport report = again.report();
  if (options.json) {
    fmt::print("{}\n", to_json(report, *counts));
  } else {
    fmt::print("{}", to_text(report));
  }
  return report.differs() ? 1 : 0;
}

}  // namespace

void add_policy_replay(CLI::App& policy, Action& chosen) {
  CLI::App* command = policy.add_subcommand(
      "replay", "What would newly be blocked or allowed of what audit logs tell");
  const auto options = std::make_shared<ReplayOptions>();
  command->add_option("FILE", options->file, "Policy file or directory")->required();
  command->add_option("AUDIT", options->logs, "Audit logs; - is standard input")->required();
  command->add_option("--agent", options->agent, "NAME of the only agent to look at");
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([&chosen, options] { chosen = [options] { return replay(*options); }; });
}

}  // namespace sluice::launcher
