// `sluice policy check`: all errors and warnings of policy files.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_set>

#include "allowlists/language.h"
#include "allowlists/tools/audit_reader.h"
#include "allowlists/tools/warnings.h"
#include "launcher/commands/policy_command.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;

struct CheckOptions {
  std::vector<std::string> files;
  std::vector<std::string> logs;
  bool json = false;
};

// Errors name a file by its place below the policy's root: here as the person named it, for there
// may be several, and to open it at its line.
Error as_named(const std::string& argument, Error error) {
  if (!error.where || argument == "-") return error;
  const std::filesystem::path root(argument);
  std::string& file = error.where->file;
  std::error_code failed;
  if (root.filename() == file) {
    file = argument;
  } else if (!file.starts_with(allowlists::preset_prefix) && is_directory(root, failed)) {
    file = (root / file).native();
  }
  return error;
}

// What is said of all files together.
class Findings {
 public:
  explicit Findings(AsJson json) : json_(json) {}

  void add_errors(const std::string& argument, const std::vector<Error>& errors) {
    for (const Error& error : errors) {
      const Error named = as_named(argument, error);
      if (!json_) tell({named});
      add(argument, named, "error");
    }
  }
  void add_warnings(const std::string& argument, const std::vector<Error>& warnings) {
    for (const Error& warning : warnings) {
      const Error named = as_named(argument, warning);
      if (!json_) fmt::print(stderr, "{}\n", warning_text(named));
      add(argument, named, "warning");
    }
  }
  void print() const {
    if (json_) fmt::print("{}\n", all_.dump(2, ' ', true, Json::error_handler_t::replace));
  }

 private:
  void add(const std::string& file, const Error& error, std::string_view severity) {
    if (!json_) return;
    const Mark mark = error.where.value_or(Mark{file, 0, 0});
    all_.push_back({{"severity", severity},
                    {"file", mark.file},
                    {"line", mark.line},
                    {"column", mark.column},
                    {"message", error.what},
                    {"hint", error.hint}});
  }

  AsJson json_;
  Json all_ = Json::array();
};

// The rules that decisions of the logs name.
Result<std::unordered_set<std::string>> used_rules(const std::vector<std::string>& logs) {
  std::unordered_set<std::string> used;
  const auto counts = allowlists::read_audit(
      logs, std::nullopt, [&used](const allowlists::AuditDecision& seen) -> Result<void> {
        used.insert(seen.rule);
        return {};
      });
  if (!counts) return Failure(counts.error());
  for (const std::string& note : allowlists::notes_on(*counts)) {
    fmt::print(stderr, "sluice: {}\n", note);
  }
  return used;
}

// Answers 0 without errors, 1 with some, 2 for logs that cannot be read.
int check(const CheckOptions& options) {
  std::vector<std::string> inputs = options.files;
  inputs.insert(inputs.end(), options.logs.begin(), options.logs.end());
  if (const auto twice = stdin_twice(inputs)) return refuse(*twice);
  std::optional<std::unordered_set<std::string>> used;
  if (!options.logs.empty()) {
    auto read = used_rules(options.logs);
    if (!read) return refuse(read.error());
    used = std::move(*read);
  }
  Findings findings{AsJson(options.json)};
  int status = 0;
  for (const std::string& file : options.files) {
    const auto read = read_policy(file);
    if (!read) {
      findings.add_errors(file, read.error());
      status = 1;
      continue;
    }
    std::vector<Error> warnings = read->warnings;
    for (Error& one : allowlists::warnings_of(read->text)) warnings.push_back(std::move(one));
    if (used) {
      for (Error& one : allowlists::unused_rules(read->text, *used)) {
        warnings.push_back(std::move(one));
      }
    }
    allowlists::sort_by_place(warnings);
    findings.add_warnings(file, warnings);
  }
  findings.print();
  return status;
}

}  // namespace

void add_policy_check(CLI::App& policy, Action& chosen) {
  CLI::App* command = policy.add_subcommand("check", "All errors and warnings of policy files");
  const auto options = std::make_shared<CheckOptions>();
  command->add_option("FILE", options->files, "Policy files or directories; - is standard input")
      ->required();
  command->add_option("--audit", options->logs, "LOG whose decisions show which rules are used")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--json", options->json,
                    "An array; column 0 where only the line is known, line 0 where none is");
  command->footer(
      "Examples:\n"
      "  sluice policy check policy.yaml\n"
      "  sluice policy check --audit audit.jsonl policy.d\n"
      "Exit status: 0 without errors, whatever it warns of; 1 with errors; 2 bad usage.");
  command->callback([&chosen, options] { chosen = [options] { return check(*options); }; });
}

}  // namespace sluice::launcher
