#include "launcher/commands/stop.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/text.h"
#include "launcher/plan/machine.h"
#include "launcher/sessions/run_log_reader.h"
#include "launcher/sessions/run_socket.h"
#include "launcher/sessions/visit.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

Error not_running(const std::string& directory, const std::string& agent) {
  std::vector<std::string> running;
  if (const auto answers = ask_all(directory)) {
    for (const RunStatus& run : answers->runs) running.push_back(text::printable(run.agent));
  }
  return {
      Errc::bad_config,
      fmt::format("you run no agent '{}'", text::printable(agent)),
      running.empty() ? "nothing is running" : fmt::format("running: {}", fmt::join(running, ", ")),
      {}};
}

// Of a detached run: the process that keeps its log is the last, and says there how it ended.
class Keeper {
 public:
  Keeper(std::string state, std::string agent)
      : state_(std::move(state)), agent_(std::move(agent)) {
    const auto record = read_record(state_, agent_);
    if (record && *record && (*record)->lasts) since_ = (*record)->status.since;
  }
  bool is_there() const {
    if (!since_) return false;
    const auto record = read_record(state_, agent_);
    return record && *record && (*record)->lasts && (*record)->status.since == *since_;
  }

 private:
  std::string state_;
  std::string agent_;
  std::optional<std::int64_t> since_;
};

void await_end_of(const Keeper& keeper) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::seconds(60);
  while (keeper.is_there() && Clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

int stop(const std::string& agent, Stop how) {
  const auto machine = survey_person();
  if (!machine) return refuse(machine.error());
  const Keeper keeper(state_directory(*machine), agent);
  const std::string& directory = machine->runtime_directory;
  const auto agents = agents_in(directory);
  const bool is_known = agents && std::find(agents->begin(), agents->end(), agent) != agents->end();
  const auto stopped =
      agents && !is_known
          ? Result<bool>(false)
          : agents.and_then([&](const auto&) { return stop_run(directory, agent, how); });
  if (stopped && *stopped) {
    await_end_of(keeper);
    return 0;
  }
  tell({stopped ? not_running(directory, agent) : stopped.error()});
  return 1;
}

}  // namespace

void add_stop(CLI::App& app, Action& chosen) {
  struct Typed {
    std::string agent;
    bool now = false;
  };
  auto typed = std::make_shared<Typed>();
  CLI::App* command =
      app.add_subcommand("stop", "Ends an agent that you run, and waits until nothing is left");
  command->add_option("agent", typed->agent, "Its name, as sluice ps shows it")->required();
  command->add_flag("--now", typed->now, "Without asking it first (SIGTERM, five seconds)");
  command->callback([&chosen, typed] {
    chosen = [typed] { return stop(typed->agent, typed->now ? Stop::now : Stop::gently); };
  });
}

}  // namespace sluice::launcher
