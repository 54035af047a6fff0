#include "launcher/commands/logs.h"

#include <fmt/core.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/io.h"
#include "base/text.h"
#include "launcher/machine.h"
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

}  // namespace

void add_logs(CLI::App& app, Action& chosen) {
  struct Typed {
    std::string agent;
    bool follow = false;
  };
  auto typed = std::make_shared<Typed>();
  CLI::App* command =
      app.add_subcommand("logs", "Shows what an agent wrote that runs with --detach");
  command->add_option("agent", typed->agent, "Its name")->required();
  command->add_flag("-f,--follow", typed->follow, "Go on until it ends");
  command->callback(
      [&chosen, typed] { chosen = [typed] { return show(typed->agent, Follow(typed->follow)); }; });
}

}  // namespace sluice::launcher
