#include "launcher/arguments.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <sstream>

#include "base/text.h"
#include "base/usage.h"
#include "launcher/commands/doctor.h"
#include "launcher/commands/logs.h"
#include "launcher/commands/ps.h"
#include "launcher/commands/root.h"
#include "launcher/commands/stop.h"
#include "launcher/commands/top.h"

namespace sluice::launcher {
namespace {

constexpr int run_usage_status = 125;

constexpr const char* run_examples =
    "Examples:\n"
    "  sluice run --policy policy.yaml -- claude\n"
    "  sluice run --agent coder-1 --workspace ~/project -- bash\n"
    "  sluice run --bind ~/.rustup --bind ~/.cargo -- cargo build\n"
    "  sluice policy explain policy.yaml coder-1 api.example.com:443\n";

// The options as they are typed; the small languages in them are read afterwards.
struct Typed {
  std::string policy, agent, workspace, proxy, audit, timeout, memory, swap, cpus, io_weight, pids,
      seccomp, root, root_mode, keep_changes;
  std::string tty = "auto";
  std::vector<std::string> tmpfs, seeds, binds, masks, known, environment, pass_environment, allow;
  bool report = false;
  bool require_landlock = false;
  bool no_log_exec = false;
  bool quiet = false;
  bool dry_run = false;
  bool json = false;
  bool detach = false;
  bool learn_writes = false;
};

// An option that is there once and takes one value.
void add_once(CLI::App& app, const std::string& names, std::string& value,
              const std::string& help) {
  app.add_option(names, value, help)->multi_option_policy(CLI::MultiOptionPolicy::Throw);
}

// An option that may be repeated, one value each time.
void add_many(CLI::App& app, const std::string& names, std::vector<std::string>& values,
              const std::string& help) {
  app.add_option(names, values, help)
      ->expected(1)
      ->allow_extra_args(false)  // else a value in brackets would be taken for a list
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_run_options(CLI::App* run, Typed& typed) {
  add_once(*run, "--policy", typed.policy, "FILE or directory that says what is allowed");
  add_once(*run, "--agent", typed.agent, "NAME by which the policy knows the agent");
  add_once(*run, "--workspace", typed.workspace, "DIR that is writable (default: the current one)");
  add_once(*run, "--proxy", typed.proxy, "SOCKET of a running sluiced, or 'embedded'");
  add_once(*run, "--audit", typed.audit, "FILE for one JSON line a decision");
  add_once(*run, "--root", typed.root, "What '/' is: host, a DIR, or an imported root's NAME");
  add_once(*run, "--root-mode", typed.root_mode,
           "readonly, or overlay: writable, and gone at the end");
  add_once(*run, "--keep-changes", typed.keep_changes, "DIR for what was written to the overlay");
  add_once(*run, "--timeout", typed.timeout,
           "DUR after which it is ended: 500ms, 30s, 10m, 2h, 1d");
  add_once(*run, "--memory", typed.memory, "SIZE that all it runs may use: 512MiB, 2GiB");
  add_once(*run, "--swap", typed.swap, "SIZE of swap beside its --memory (default: none)");
  add_once(*run, "--cpus", typed.cpus, "N CPUs that all it runs may use: 2, 0.5");
  add_once(*run, "--io-weight", typed.io_weight, "N from 1 to 10000: its share of a busy disk");
  add_once(*run, "--pids", typed.pids, "N processes and threads at most (default: 4096)");
  add_many(*run, "--tmpfs", typed.tmpfs, "PATH[:SIZE] that is empty and writable");
  add_many(*run, "--seed", typed.seeds, "PATH[:SIZE] of the host that is a writable copy");
  add_many(*run, "--bind", typed.binds, "SRC[:DST][:ro|rw] of the host that is visible");
  add_many(*run, "--mask", typed.masks, "PATH that is hidden");
  add_many(*run, "--i-know", typed.known,
           "PATH of a writable bind or workspace that is dangerous, said again");
  add_once(*run, "--seccomp", typed.seccomp,
           "FILE with system calls to refuse besides, as container engines write it");
  add_many(*run, "--env", typed.environment, "K=V for the agent's environment");
  add_many(*run, "--pass-env", typed.pass_environment, "K of your own environment to hand on");
  add_many(*run, "--allow", typed.allow, "HOST[:PORT] to allow besides, for this run");
  run->add_flag("--report", typed.report, "Let pass and count what the policy would block");
  run->add_flag("--require-landlock", typed.require_landlock,
                "Stop where the kernel has no Landlock, instead of saying so");
  run->add_flag("--no-log-exec", typed.no_log_exec, "No audit line for each program it starts");
  run->add_flag("--quiet", typed.quiet, "No notices and no line at the end");
  run->add_flag("--dry-run", typed.dry_run, "Print the steps and stop");
}

CLI::App* add_run(CLI::App& app, Typed& typed) {
  CLI::App* run =
      app.add_subcommand("run", "Runs a command in a sandbox whose only way out is a policy");
  run->footer("Everything behind the first -- is the command: sluice run [OPTIONS] -- CMD...");
  add_run_options(run, typed);
  run->add_flag("--learn-writes", typed.learn_writes,
                "An overlay, and at the end the --tmpfs and --seed that it stood for");
  run->add_flag("--json", typed.json, "The dry run, or what was learnt, as one JSON object");
  run->add_flag("--detach", typed.detach, "Go on in the background: sluice ps, logs, stop");
  add_once(*run, "--tty", typed.tty,
           "Whether it has a terminal: yes, no, or auto (where you have)");
  return run;
}

CLI::App* add_prove(CLI::App& app, Typed& typed, bool& json) {
  CLI::App* prove = app.add_subcommand(
      "prove", "Tries to leave a sandbox made with these options; names what it reached");
  add_run_options(prove, typed);
  prove->add_flag("--json", json, "One JSON value");
  return prove;
}

// Reads each text with `parse` into `values`; the first that is malformed is the error.
template <class Value, class Parse>
std::optional<Error> read_each(const std::vector<std::string>& texts, Parse parse,
                               std::vector<Value>& values) {
  for (const std::string& text : texts) {
    auto value = parse(text);
    if (!value) return value.error();
    values.push_back(std::move(*value));
  }
  return std::nullopt;
}

// Reads `typed` with `parse` where the option was given.
template <class Value, class Parse>
std::optional<Error> read_once(const CLI::App& app, const char* name, const std::string& typed,
                               Parse parse, std::optional<Value>& value) {
  if (app.count(name) == 0) return std::nullopt;
  auto read = parse(typed);
  if (!read) return read.error();
  value = *read;
  return std::nullopt;
}

void set_if_given(const CLI::App& app, const char* name, const std::string& typed,
                  std::optional<std::string>& value) {
  if (app.count(name) > 0) value = typed;
}

Result<RunOptions> read_run(const CLI::App& app, const Typed& typed) {
  RunOptions options;
  set_if_given(app, "--policy", typed.policy, options.policy);
  set_if_given(app, "--agent", typed.agent, options.agent);
  set_if_given(app, "--workspace", typed.workspace, options.workspace);
  set_if_given(app, "--proxy", typed.proxy, options.proxy);
  set_if_given(app, "--audit", typed.audit, options.audit);
  set_if_given(app, "--seccomp", typed.seccomp, options.seccomp);
  set_if_given(app, "--root", typed.root, options.root);
  set_if_given(app, "--root-mode", typed.root_mode, options.root_mode);
  set_if_given(app, "--keep-changes", typed.keep_changes, options.keep_changes);
  options.allow = typed.allow;
  options.known = typed.known;
  options.report = typed.report;
  options.require_landlock = typed.require_landlock;
  options.log_exec = !typed.no_log_exec;
  options.quiet = typed.quiet;
  options.dry_run = typed.dry_run;
  options.json = typed.json;
  options.detach = typed.detach;
  options.learn_writes = typed.learn_writes;
  if (options.json && !options.dry_run && !options.learn_writes) {
    return fail(Errc::bad_config, "--json is the form of another option's answer",
                "add --dry-run or --learn-writes, or leave it out");
  }
  auto tty = parse_tty(typed.tty);
  if (!tty) return Failure(tty.error());
  options.tty = *tty;
  if (options.detach && options.tty == Tty::yes) {
    return fail(Errc::bad_config, "there is no terminal in the background",
                "leave --tty yes or --detach out");
  }
  for (const auto& error :
       {read_each(typed.tmpfs, parse_tmpfs, options.tmpfs),
        read_each(typed.seeds, parse_seed, options.seeds),
        read_each(typed.binds, parse_bind, options.binds),
        read_each(typed.masks, parse_mask, options.masks),
        read_each(typed.environment, parse_environment, options.environment),
        read_each(typed.pass_environment, parse_environment_name, options.pass_environment),
        read_once(app, "--memory", typed.memory, parse_memory, options.limits.memory),
        read_once(app, "--swap", typed.swap, parse_swap, options.limits.swap),
        read_once(app, "--io-weight", typed.io_weight, parse_io_weight, options.limits.io_weight),
        read_once(app, "--cpus", typed.cpus, parse_cpus, options.limits.cpus),
        read_once(app, "--pids", typed.pids, parse_pids, options.limits.pids),
        read_once(app, "--timeout", typed.timeout, parse_duration, options.timeout)}) {
    if (error) return Failure(*error);
  }
  return options;
}

Farewell usage(const Error& error, int status) {
  return {"", fmt::format("sluice: {}\n", to_string(error)), status};
}

constexpr const char* behind_dashes = "put it behind '--': sluice run [OPTIONS] -- CMD...";

Error no_command() { return {Errc::bad_config, "no command to run", behind_dashes, {}}; }

Farewell from_cli(const CLI::App& app, const CLI::ParseError& error, int status) {
  if (error.get_exit_code() == 0) {  // --help, --version
    std::ostringstream out;
    app.exit(error, out, out);
    return {out.str(), "", 0};
  }
  Error said = usage_error(app, error);
  // 'sluice run claude': what everybody types first.
  const auto words = app.remaining(true);
  const bool is_command = !words.empty() && !words.front().starts_with('-');
  if (app.got_subcommand("run") && is_command) {
    said = {Errc::bad_config,
            fmt::format("'{}' is no option of sluice run", text::printable(words.front())),
            "if it is the command, " + std::string(behind_dashes),
            {}};
  }
  return usage(said, status);
}

// A first word that is no command; CLI11 says only that one is missing.
std::optional<Error> unknown_command(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* at = &app;
  for (const std::string& word : words) {
    std::vector<std::string> known;
    const CLI::App* found = nullptr;
    for (const CLI::App* command : at->get_subcommands({})) {
      known.push_back(command->get_name());
      if (command->get_name() == word) found = command;
    }
    if (known.empty() || word.starts_with('-')) return std::nullopt;
    if (found == nullptr) {
      const std::string near = text::nearest(word, known);
      return Error{Errc::bad_config, fmt::format("there is no command '{}'", text::printable(word)),
                   near.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                                : fmt::format("did you mean '{}'?", near),
                   std::nullopt};
    }
    at = found;
  }
  return std::nullopt;
}

// The programs's whole grammar; parsing is CLI11's.
struct Grammar {
  Grammar() : app("Runs untrusted agents so that the only way out is a policy", "sluice") {
    app.set_version_flag("--version", "sluice " SLUICE_VERSION);
    app.require_subcommand(1);
    app.footer(run_examples);
    run = add_run(app, typed);
    prove = add_prove(app, typed, json);
    CLI::App* policy = app.add_subcommand("policy", "Reads policies without running anything");
    policy->require_subcommand(1);
    add_policy_check(*policy, action.run);
    add_policy_diff(*policy, action.run);
    add_policy_discover(*policy, action.run);
    add_policy_explain(*policy, action.run);
    add_policy_presets(*policy, action.run);
    add_policy_replay(*policy, action.run);
    add_policy_schema(*policy, action.run);
    add_policy_suggest(*policy, action.run);
    add_policy_test(*policy, action.run);
    add_policy_trust(*policy, action.run);
    add_doctor(app, action.run);
    add_ps(app, action.run);
    add_stop(app, action.run);
    add_logs(app, action.run);
    add_top(app, action.run);
    add_root(app, action.run);
  }

  CLI::App app;
  CLI::App* run = nullptr;
  CLI::App* prove = nullptr;
  bool json = false;
  Typed typed;
  PolicyAction action;
};

}  // namespace

Command parse_arguments(const std::vector<std::string>& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const bool is_run = !words.empty() && words.front() == "run";
  const bool is_prove = !words.empty() && words.front() == "prove";
  const int status = is_run || is_prove ? run_usage_status : usage_status;
  // CLI11 takes them from the back.
  std::vector<std::string> own(std::make_reverse_iterator(is_run ? dashes : words.end()),
                               std::make_reverse_iterator(words.begin()));
  Grammar grammar;
  if (const auto unknown = unknown_command(grammar.app, words)) return usage(*unknown, status);
  try {
    grammar.app.parse(own);
  } catch (const CLI::ParseError& error) {
    return from_cli(grammar.app, error, status);
  }
  if (grammar.action.run) return std::move(grammar.action);
  auto options = read_run(is_prove ? *grammar.prove : *grammar.run, grammar.typed);
  if (!options) return usage(options.error(), status);
  if (is_prove) return ProveOptions{std::move(*options), grammar.json};
  if (dashes != words.end()) options->command.assign(dashes + 1, words.end());
  if (options->command.empty() || options->command.front().empty())
    return usage(no_command(), status);
  return std::move(*options);
}

}  // namespace sluice::launcher
