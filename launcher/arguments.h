// Reads the command line into what a command takes; whatever is not understood is a usage error.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "launcher/commands/policy_command.h"
#include "launcher/options.h"

namespace sluice::launcher {

// A subcommand of `sluice policy`, ready to run.
struct PolicyAction {
  Action run;
};
// Something to print (help, version) and the status to exit with; usage errors go to stderr.
struct Farewell {
  std::string out;
  std::string err;
  int status = 0;
};

using Command = std::variant<RunOptions, ProveOptions, PolicyAction, Farewell>;

// `words` without the program's name. Everything behind the first "--" is the agent's command. A
// usage error of `run` and `prove` is 125 (nothing was run), of the others 2.
Command parse_arguments(const std::vector<std::string>& words);

}  // namespace sluice::launcher
