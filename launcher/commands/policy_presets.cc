// `sluice policy presets`: the ready-made lists of rules, or one of them.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "allowlists/preset.h"
#include "base/text.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {
namespace {

using allowlists::Preset;
using Json = nlohmann::ordered_json;

struct PresetsOptions {
  std::optional<std::string> name;
  bool json = false;
};

// What `use: [preset:NAME]` gives an agent.
std::vector<allowlists::Rule> rules_of(const Preset& preset) {
  const std::vector<allowlists::Source> sources = {
      {"presets", fmt::format("{{version: 1, agents: {{a: {{use: [preset:{}]}}}}}}", preset.name)}};
  auto read = allowlists::read_text(sources);
  if (read) return std::move(read->text.agents.front().rules);
  tell(read.error());
  return {};
}

void list(AsJson as_json) {
  Json presets = Json::array();
  for (const Preset& preset : allowlists::presets()) {
    const std::size_t hosts = rules_of(preset).size();
    const std::string_view summary = allowlists::summary_of(preset);
    presets.push_back({{"name", preset.name}, {"summary", summary}, {"hosts", hosts}});
    if (as_json) continue;
    fmt::print("{:<22}{:>2} {:<6} {}\n", preset.name, hosts, hosts == 1 ? "host" : "hosts",
               summary);
  }
  if (as_json) fmt::print("{}\n", presets.dump());
}

void show(const Preset& preset, AsJson as_json) {
  if (!as_json) {
    fmt::print("{}", preset.text);
    return;
  }
  Json rules = Json::array();
  for (const allowlists::Rule& rule : rules_of(preset)) {
    rules.push_back(
        {{"host", allowlists::subject_of(rule)}, {"ports", rule.ports}, {"why", rule.why}});
  }
  const Json whole = {
      {"name", preset.name}, {"summary", allowlists::summary_of(preset)}, {"rules", rules}};
  fmt::print("{}\n", whole.dump());
}

// Answers 0, or 2 for a name that no preset has.
int presets(const PresetsOptions& options) {
  const AsJson as_json(options.json);
  if (!options.name) {
    list(as_json);
    return 0;
  }
  if (const Preset* preset = allowlists::find_preset(*options.name)) {
    show(*preset, as_json);
    return 0;
  }
  std::vector<std::string_view> names;
  for (const Preset& preset : allowlists::presets()) names.push_back(preset.name);
  const std::string near = text::nearest(*options.name, names);
  return refuse({Errc::bad_config,
                 fmt::format("there is no preset '{}'", text::printable(*options.name)),
                 near.empty() ? "'sluice policy presets' lists them"
                              : fmt::format("did you mean '{}'?", near),
                 {}});
}

}  // namespace

void add_policy_presets(CLI::App& policy, Action& chosen) {
  CLI::App* command =
      policy.add_subcommand("presets", "Ready-made lists of rules, for 'use: [preset:NAME]'");
  const auto options = std::make_shared<PresetsOptions>();
  command->add_option("NAME", options->name, "Print the rules of this one");
  command->add_flag("--json", options->json, "One JSON value");
  command->callback([&chosen, options] { chosen = [options] { return presets(*options); }; });
}

}  // namespace sluice::launcher
