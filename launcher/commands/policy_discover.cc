// `sluice policy discover`: rules for what a project's own tools are configured for.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <string_view>

#include "allowlists/discover/discover.h"
#include "allowlists/discover/report.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {
namespace {

namespace discovery = allowlists::discover;

struct DiscoverOptions {
  std::string directory = ".";
  bool json = false;
};

discovery::Machine this_machine() {
  discovery::Machine machine;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    machine.environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  if (const auto home = machine.environment.find("HOME"); home != machine.environment.end()) {
    machine.home = home->second;
  }
  return machine;
}

// Answers 0, whether something was found or not.
int discover(const DiscoverOptions& options) {
  const discovery::Machine machine = this_machine();
  const auto findings = discovery::discover(options.directory, machine);
  if (!findings) return refuse(findings.error());
  fmt::print("{}", options.json ? discovery::to_json(*findings) : discovery::to_yaml(*findings));
  for (const Error& complaint : discovery::complaints(*findings)) {
    fmt::print(stderr, "{}{}\n", complaint.where ? "" : "sluice: ", warning_text(complaint));
  }
  if (findings->found().empty()) {
    fmt::print(stderr, "sluice: nothing found: no configuration file here names a registry\n");
  }
  return 0;
}

}  // namespace

void add_policy_discover(CLI::App& policy, Action& chosen) {
  CLI::App* command = policy.add_subcommand(
      "discover", "Rules for the registries and remotes that a project's tools are configured for");
  const auto options = std::make_shared<DiscoverOptions>();
  command->add_option("DIR", options->directory, "The project's directory (default: the current)");
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Files are parsed; no tool is run. What an agent could have written is printed "
      "as a comment.");
  command->callback([&chosen, options] { chosen = [options] { return discover(*options); }; });
}

}  // namespace sluice::launcher
