// What the `sluice policy` subcommands share: how they join the grammar, read policies and
// complain.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"
#include "base/error.h"
#include "base/strong.h"

namespace CLI {
class App;
}

namespace sluice::launcher {

using AsJson = YesNo<struct AsJsonTag>;

// The exit status for bad usage and for files that cannot be read or obeyed.
inline constexpr int usage_status = 2;

// What a parsed command line asks for; running it answers the exit status.
using Action = std::function<int()>;

// Each adds one subcommand below `sluice policy` and sets `chosen` when that was typed.
void add_policy_check(CLI::App& policy, Action& chosen);
void add_policy_diff(CLI::App& policy, Action& chosen);
void add_policy_discover(CLI::App& policy, Action& chosen);
void add_policy_explain(CLI::App& policy, Action& chosen);
void add_policy_presets(CLI::App& policy, Action& chosen);
void add_policy_replay(CLI::App& policy, Action& chosen);
void add_policy_schema(CLI::App& policy, Action& chosen);
void add_policy_suggest(CLI::App& policy, Action& chosen);
void add_policy_test(CLI::App& policy, Action& chosen);
void add_policy_trust(CLI::App& policy, Action& chosen);

// A policy that loaded: as it was written, and as it decides.
struct ReadPolicy {
  allowlists::PolicyText text;
  std::shared_ptr<const allowlists::Policy> policy;
  std::vector<Error> warnings;
};

// An error where "-" stands among them more than once: standard input is read once.
std::optional<Error> stdin_twice(const std::vector<std::string>& paths);

// A file, the files of a directory, or standard input, which "-" stands for and "stdin" names.
Result<std::vector<allowlists::Source>> read_files(const std::string& path);

tl::expected<ReadPolicy, std::vector<Error>> read_policy(const std::string& path);
// The same; errors go to stderr.
std::optional<ReadPolicy> read_policy_or_tell(const std::string& path);

// One line (and hint) each, to stderr. Without a place they begin with "sluice: ".
void tell(const std::vector<Error>& errors);
// "FILE:LINE:COL: warning: WHAT" and the hint; without COL where only the line is known.
std::string warning_text(const Error& warning);

// Tells the error and answers usage_status.
int refuse(const Error& error);

}  // namespace sluice::launcher
