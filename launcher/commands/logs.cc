#include "launcher/commands/logs.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/io.h"
#include "base/text.h"
#include "launcher/commands/logs_audit.h"
#include "launcher/plan/machine.h"
#include "launcher/sessions/log_text.h"
#include "launcher/sessions/run_log_reader.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

using Follow = YesNo<struct FollowTag>;

constexpr int pause_ms = 100;

Error no_log(const std::string& state, const std::string& agent) {
  std::vector<std::string> kept;
  if (const auto agents = logged_agents(state)) {
    for (const std::string& name : *agents) kept.push_back(text::printable(name));
  }
  return {Errc::bad_config,
          fmt::format("there is no log of '{}'", text::printable(agent)),
          kept.empty() ? "logs are kept of what runs with --detach, for seven days after its end"
                       : fmt::format("there are logs of: {}", fmt::join(kept, ", ")),
          {}};
}

std::string end_of(const RunStatus& status) {
  if (status.state == RunStatus::State::ended && status.status) {
    return fmt::format("sluice: ended with status {} at {}\n", *status.status, utc(status.until));
  }
  return "sluice: was killed, and nobody saw how the agent ended\n";
}

// Everything there is for now. Raw bytes for a file or a pipe; a person's terminal gets no control
// character but line feeds and tabs.
Result<void> copy_all(RunLogReader& reader, LogText* escaped) {
  for (;;) {
    const auto bytes = reader.read();
    if (!bytes) return Failure(bytes.error());
    if (bytes->empty()) return {};
    if (reader.has_missed()) {
      (void)write_all(STDERR_FILENO, "stderr", "sluice: older output was dropped unread\n");
    }
    const std::string text = escaped != nullptr ? escaped->add(*bytes) : *bytes;
    if (auto done = write_all(STDOUT_FILENO, "stdout", text); !done) return done;
  }
}

// Answers how the run ended, or nothing while it lasts and is not to be followed.
Result<std::optional<RunStatus>> copy_log(const std::string& state, const std::string& agent,
                                          const RunRecord& first, Follow follow) {
  auto reader = RunLogReader::open(state, agent);
  if (!reader) return Failure(reader.error());
  LogText escaped;
  LogText* const for_person = ::isatty(STDOUT_FILENO) == 1 ? &escaped : nullptr;
  RunRecord record = first;
  for (;;) {
    // The record was read before: what a run that has ended wrote is all there.
    if (auto done = copy_all(*reader, for_person); !done) return Failure(done.error());
    if (!record.lasts || !follow) break;
    ::poll(nullptr, 0, pause_ms);
    auto next = read_record(state, agent);
    if (!next) continue;
    if (!*next || (*next)->status.since != first.status.since) {
      return fail(Errc::unavailable, "another run of this name has begun", "sluice logs shows it");
    }
    record = std::move(**next);
  }
  if (for_person != nullptr) (void)write_all(STDOUT_FILENO, "stdout", escaped.rest());
  return record.lasts ? std::optional<RunStatus>() : std::optional(record.status);
}

int show(const std::string& agent, Follow follow) {
  const auto machine = survey_person();
  if (!machine) return refuse(machine.error());
  const std::string state = state_directory(*machine);
  const auto record = agent.find('/') == std::string::npos
                          ? read_record(state, agent)
                          : Result<std::optional<RunRecord>>(std::nullopt);
  if (record && !*record) {
    tell({no_log(state, agent)});
    return 1;
  }
  const auto end =
      record.and_then([&](const auto& found) { return copy_log(state, agent, *found, follow); });
  if (!end) {
    tell({end.error()});
    return 1;
  }
  if (*end) (void)write_all(STDERR_FILENO, "stderr", end_of(**end));
  return 0;
}

struct Typed {
  AuditLogOptions audit;
  std::string file;
  bool decisions = false;
  bool denied = false;
};

int show_typed(Typed typed) {
  const bool filters = typed.denied || typed.audit.json || !typed.audit.verdict.empty() ||
                       !typed.audit.since.empty();
  const bool has_file = !typed.file.empty();
  if (!has_file && typed.audit.agent.empty()) {
    return refuse({Errc::bad_config, "no agent is named", "sluice ps --all lists them; or --file",
                   std::nullopt});
  }
  if (!has_file && !typed.decisions) {
    if (!filters) return show(typed.audit.agent, Follow(typed.audit.follow));
    return refuse({Errc::bad_config, "what an agent wrote has no verdicts to choose by",
                   "--decisions shows what was decided about it", std::nullopt});
  }
  if (has_file) typed.audit.file = typed.file;
  if (typed.denied) typed.audit.verdict = "deny";
  return show_audit(typed.audit);
}

}  // namespace

void add_logs(CLI::App& app, Action& chosen) {
  auto typed = std::make_shared<Typed>();
  CLI::App* command = app.add_subcommand(
      "logs", "Shows what an agent wrote that runs with --detach, or what was decided about it");
  command->add_option("agent", typed->audit.agent, "Its name");
  command->add_flag("-f,--follow", typed->audit.follow, "Go on until it ends");
  auto* decisions = command->add_flag("--decisions", typed->decisions,
                                      "What was decided of late about one that is running");
  command->add_option("--file", typed->file, "AUDIT.jsonl, or - for standard input")
      ->excludes(decisions);
  auto* verdict =
      command->add_option("--verdict", typed->audit.verdict, "Only: allow, deny, report");
  verdict->check(CLI::IsMember({"allow", "deny", "report"}));
  command->add_flag("--denied", typed->denied, "The same as --verdict deny")->excludes(verdict);
  command->add_option("--since", typed->audit.since, "DUR ago, or a time in UTC");
  command->add_flag("--json", typed->audit.json, "The lines as they are");
  command->footer(
      "Examples:\n"
      "  sluice logs coder-1 -f\n"
      "  sluice logs coder-1 --decisions --denied -f\n"
      "  sluice logs --file /var/log/sluice/audit.jsonl --since 1h");
  command->callback([&chosen, typed] { chosen = [typed] { return show_typed(*typed); }; });
}

}  // namespace sluice::launcher
