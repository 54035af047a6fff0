// `sluice policy schema`: the JSON Schema of policy files.
#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "allowlists/tools/schema.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {

void add_policy_schema(CLI::App& policy, Action& chosen) {
  policy.add_subcommand("schema", "The JSON Schema of policy files, for editors")
      ->callback([&chosen] {
        chosen = [] {
          fmt::print("{}", allowlists::policy_schema());
          return 0;
        };
      });
}

}  // namespace sluice::launcher
