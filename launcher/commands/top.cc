#include "launcher/commands/top.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/io.h"
#include "launcher/plan/machine.h"
#include "launcher/sessions/run_status.h"
#include "launcher/top/frame.h"
#include "launcher/top/places.h"
#include "launcher/top/screen.h"
#include "launcher/top/view.h"

namespace sluice::launcher {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto interval = 1s;
constexpr std::string_view keys = "q quit  s sort";
constexpr int signal_status = 128;

struct TopFlags {
  bool once = false;
  bool json = false;
  std::string socket;
};

int fail_with(const Error& error) {
  tell({error});
  return 1;
}

View view_now(Sample now, const Sample& before) {
  return view_of(std::move(now), before, utc(now_ms()));
}

// Two looks: one alone knows no rates.
Result<View> look_twice(const Places& places) {
  const auto before = look(places);
  if (!before) return Failure(before.error());
  std::this_thread::sleep_for(interval);
  auto now = look(places);
  if (!now) return Failure(now.error());
  return view_now(std::move(*now), *before);
}

Result<void> print(View view, AsJson as_json) {
  if (as_json) return write_all(STDOUT_FILENO, "stdout", to_json(view));
  sort_agents(view, TopOrder::activity);
  constexpr std::size_t plain_width = 120;
  std::string text;
  for (const FrameLine& line : frame(view, {.columns = plain_width, .rows = 0})) {
    text += coloured(line, colour_of_stdout()) + "\n";
  }
  return write_all(STDOUT_FILENO, "stdout", text);
}

int print_once(const Places& places, AsJson as_json) {
  auto view = look_twice(places);
  if (!view) return fail_with(view.error());
  const auto printed = print(std::move(*view), as_json);
  return printed ? 0 : fail_with(printed.error());
}

int print_lines(const Places& places) {
  auto before = look(places);
  if (!before) return fail_with(before.error());
  for (;;) {
    std::this_thread::sleep_for(interval);
    auto now = look(places);
    if (!now) return fail_with(now.error());
    const Sample kept = *now;
    if (auto done = print(view_now(std::move(*now), *before), AsJson::yes); !done) {
      return fail_with(done.error());
    }
    before = kept;
  }
}

// A sluiced that goes while it is watched is a note; it may come again.
Sample look_again(const Places& places) {
  auto sample = look(places);
  if (sample) return std::move(*sample);
  Sample nothing;
  nothing.at = Clock::now();
  nothing.notes.push_back(sample.error().what);
  return nothing;
}

TopOrder after(TopOrder order) {
  switch (order) {
    case TopOrder::activity:
      return TopOrder::denied;
    case TopOrder::denied:
      return TopOrder::name;
    case TopOrder::name:
      break;
  }
  return TopOrder::activity;
}

int watch(const Places& places) {
  auto first = look(places);
  if (!first) return fail_with(first.error());
  auto screen = Screen::open();
  if (!screen) return fail_with(screen.error());
  View view = view_now(*first, *first);
  TopOrder order = TopOrder::activity;
  for (auto next = Clock::now() + interval;;) {
    sort_agents(view, order);
    if (!screen->show(frame(view, screen->size(), keys))) return 1;  // nobody is there to be told
    const Screen::Wake wake = screen->wait(next);
    if (wake.signal != 0) return signal_status + wake.signal;
    if (wake.key == 'q' || wake.key == 'Q') return 0;
    if (wake.key == 's') order = after(order);
    if (Clock::now() < next) continue;
    const Sample before = std::move(view.now);
    view = view_now(look_again(places), before);
    next = Clock::now() + interval;
  }
}

bool is_a_screen() {
  const char* const kind = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

int top(const TopFlags& flags) {
  const auto machine = survey_person();
  if (!machine) return refuse(machine.error());
  Places places{machine->runtime_directory, std::nullopt};
  if (!flags.socket.empty()) places.socket = flags.socket;
  if (flags.once) return print_once(places, AsJson(flags.json));
  if (flags.json) return print_lines(places);
  if (is_a_screen()) return watch(places);
  return refuse({Errc::bad_config, "standard output is no terminal that can be drawn on",
                 "sluice top --once prints one picture, --json a line each second", std::nullopt});
}

}  // namespace

void add_top(CLI::App& app, Action& chosen) {
  auto flags = std::make_shared<TopFlags>();
  CLI::App* command = app.add_subcommand(
      "top", "Shows live what agents do: rates, what is decided, what is blocked and its rule");
  command->add_flag("--once", flags->once, "One picture, after a second of looking, and no more");
  command->add_flag("--json", flags->json, "One JSON object: each second, or once");
  command->add_option("--socket", flags->socket, "PATH of a sluiced's admin socket: only that one")
      ->check([](const std::string& path) { return path.empty() ? "a path is missing" : ""; });
  command->footer(
      "Keys: q or Ctrl-C quits, s sorts by activity, by denials or by name.\n"
      "Examples:\n"
      "  sluice top\n"
      "  sluice top --once --json | jq '.blocked[].to_allow'\n"
      "  sudo sluice top --socket /run/sluice/admin.sock");
  command->callback([&chosen, flags] { chosen = [flags] { return top(*flags); }; });
}

}  // namespace sluice::launcher
