#include "launcher/commands/ps.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "launcher/plan/machine.h"
#include "launcher/sessions/decision_counts.h"
#include "launcher/sessions/run_log.h"
#include "launcher/sessions/run_table.h"
#include "launcher/sessions/visit.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

using WithEnded = YesNo<struct WithEndedTag>;

int fail_with(const Error& error) {
  tell({error});
  return 1;
}

Result<std::vector<ShownRun>> ended(const Machine& machine) {
  const std::string state = state_directory(machine);
  remove_old_logs(state, now_ms());
  auto runs = ended_runs(state);
  if (!runs) return Failure(runs.error());
  std::vector<ShownRun> shown;
  for (RunStatus& run : *runs) shown.push_back({std::move(run), std::nullopt});
  return shown;
}

int show(AsJson as_json, WithEnded with_ended) {
  const auto machine = survey_person();
  if (!machine) return fail_with(machine.error());
  auto answers = ask_all(machine->runtime_directory);
  if (!answers) return fail_with(answers.error());
  std::vector<ShownRun> shown;
  shown.reserve(answers->runs.size());
  auto decisions = ask_decisions(machine->runtime_directory, answers->runs);
  for (std::size_t i = 0; i < answers->runs.size(); ++i) {
    shown.push_back({std::move(answers->runs[i]), decisions.counts[i]});
  }
  if (as_json || with_ended) {
    auto old = ended(*machine);
    if (!old) return fail_with(old.error());
    std::move(old->begin(), old->end(), std::back_inserter(shown));
  }
  fmt::print("{}", as_json ? to_json(shown) : to_table(shown));
  std::vector<Error>& silent = answers->silent;
  std::ranges::move(decisions.silent, std::back_inserter(silent));
  tell(silent);
  return silent.empty() ? 0 : 1;
}

}  // namespace

void add_ps(CLI::App& app, Action& chosen) {
  struct Flags {
    bool json = false;
    bool all = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("ps", "Lists the agents that you run");
  command->add_flag("--json", flags->json, "One JSON array, with detached runs that have ended");
  command->add_flag("--all", flags->all, "Detached runs that have ended as well");
  command->callback([&chosen, flags] {
    chosen = [flags] { return show(AsJson(flags->json), WithEnded(flags->all)); };
  });
}

}  // namespace sluice::launcher
