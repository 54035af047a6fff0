#include "launcher/probes/proof.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "base/io.h"
#include "base/text.h"

namespace sluice::launcher::probes {
namespace {

using Json = nlohmann::ordered_json;

constexpr unsigned patience = 30;  // seconds; most take microseconds
constexpr int failed = 1;

std::string dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// A process that dies, hangs or is changed by what it reached takes no other probe with it, and one
// that cannot be started gives no answer.
void attempt_apart(const Probe& probe, const Bounds& bounds, int to) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(patience);
    const Answer answer = probe.attempt(bounds);
    const Json line{
        {"probe", probe.name}, {"outcome", to_string(answer.kind)}, {"what", answer.what}};
    ::_exit(write_all(to, "the outcomes", dump(line) + "\n") ? 0 : failed);
  }
  while (pid > 0 && ::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Answer::Kind kind_of(std::string_view word) {
  using Kind = Answer::Kind;
  for (const Kind kind : {Kind::held, Kind::reached, Kind::not_applicable}) {
    if (word == to_string(kind)) return kind;
  }
  return Kind::no_answer;
}

std::map<std::string, Answer> read_answers(std::string_view text) {
  std::map<std::string, Answer> answers;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const Json json = Json::parse(line, nullptr, false);
    const auto word = [&json](const char* key) {
      const auto found = json.is_object() ? json.find(key) : json.end();
      return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    answers[word("probe")] = {kind_of(word("outcome")), word("what")};
  }
  return answers;
}

std::string last_line(const std::vector<Outcome>& outcomes) {
  const auto leaks = std::count_if(outcomes.begin(), outcomes.end(),
                                   [](const Outcome& outcome) { return !holds(outcome); });
  if (leaks == 0) return fmt::format("every probe held: {}\n", outcomes.size());
  return fmt::format("the sandbox leaks: {} of {} probes did not hold\n", leaks, outcomes.size());
}

std::string_view word_for(Answer::Kind kind) {
  switch (kind) {
    case Answer::Kind::held:
      return "held";
    case Answer::Kind::reached:
      return "REACHED";
    case Answer::Kind::not_applicable:
      return "-";
    case Answer::Kind::no_answer:
      break;
  }
  return "NO ANSWER";
}

}  // namespace

void prove(const Bounds& bounds, int to) {
  for (const AreaProbes& area : battery()) {
    for (const Probe& probe : area.probes) attempt_apart(probe, bounds, to);
  }
}

std::vector<Outcome> read_outcomes(std::string_view text) {
  const auto answers = read_answers(text);
  std::vector<Outcome> outcomes;
  for (const AreaProbes& area : battery()) {
    for (const Probe& probe : area.probes) {
      const auto found = answers.find(probe.name);
      Answer answer{Answer::Kind::no_answer, "its process did not start, or ended without a word"};
      if (found != answers.end()) answer = found->second;
      outcomes.push_back({area.area, probe.name, probe.tries, std::move(answer)});
    }
  }
  return outcomes;
}

bool holds(const Outcome& outcome) noexcept {
  return outcome.answer.kind == Answer::Kind::held ||
         outcome.answer.kind == Answer::Kind::not_applicable;
}

std::string to_table(const std::vector<Outcome>& outcomes) {
  std::size_t width = 0;
  for (const Outcome& outcome : outcomes) width = std::max(width, outcome.name.size());
  constexpr std::size_t word_width = 9;
  std::string table;
  std::string_view area;
  for (const Outcome& outcome : outcomes) {
    if (area != to_string(outcome.area)) {
      area = to_string(outcome.area);
      table += fmt::format("{}\n", area);
    }
    table += fmt::format("  {:<{}}  {:<{}}  {}\n", word_for(outcome.answer.kind), word_width,
                         outcome.name, width, outcome.tries);
    if (outcome.answer.what.empty()) continue;
    // Paths and names of the agent's are in it.
    table += fmt::format("{:{}}{}\n", "", word_width + 4, text::printable(outcome.answer.what));
  }
  return table + "\n" + last_line(outcomes);
}

std::string to_json(const std::vector<Outcome>& outcomes) {
  Json all = Json::array();
  for (const Outcome& outcome : outcomes) {
    all.push_back({{"area", to_string(outcome.area)},
                   {"name", outcome.name},
                   {"tries", outcome.tries},
                   {"outcome", to_string(outcome.answer.kind)},
                   {"what", outcome.answer.what}});
  }
  return dump(all) + "\n";
}

}  // namespace sluice::launcher::probes
