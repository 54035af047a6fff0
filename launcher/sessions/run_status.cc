#include "launcher/sessions/run_status.h"

#include <array>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;
using State = RunStatus::State;

constexpr std::size_t longest_command = 8192;
constexpr std::array<std::pair<State, const char*>, 5> states{{{State::starting, "starting"},
                                                               {State::running, "running"},
                                                               {State::ending, "ending"},
                                                               {State::ended, "ended"},
                                                               {State::killed, "killed"}}};

RunStatus from_json(const Json& json) {
  RunStatus status;
  const std::string state = json.at("state");
  for (const auto& [value, name] : states) {
    if (state == name) status.state = value;
  }
  status.agent = json.at("agent");
  status.pid = json.at("pid");
  status.since = json.at("since");
  status.until = json.at("until");
  if (!json.at("status").is_null()) status.status = json.at("status").get<int>();
  status.workspace = json.at("workspace");
  status.policy = json.at("policy");
  status.shared = json.at("shared");
  status.is_detached = json.at("detached");
  status.command = json.at("command");
  status.is_command_cut = json.at("command_cut");
  return status;
}

}  // namespace

const char* name_of(State state) { return states[static_cast<std::size_t>(state)].second; }

void set_command(RunStatus& status, const std::vector<std::string>& command) {
  std::size_t left = longest_command;
  for (const std::string& word : command) {
    if (word.size() >= left) {
      status.is_command_cut = true;
      return;
    }
    left -= word.size() + 1;
    status.command.push_back(word);
  }
}

std::string encode(const RunStatus& status) {
  Json json{{"state", name_of(status.state)},
            {"agent", status.agent},
            {"pid", status.pid},
            {"since", status.since},
            {"until", status.until},
            {"status", nullptr},
            {"workspace", status.workspace},
            {"policy", status.policy},
            {"shared", status.shared},
            {"detached", status.is_detached},
            {"command", status.command},
            {"command_cut", status.is_command_cut}};
  if (status.status) json["status"] = *status.status;
  return json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

Result<RunStatus> decode_status(std::string_view text) {
  try {
    return from_json(Json::parse(text.substr(0, text.find('\n'))));
  } catch (const Json::exception&) {
    return fail(Errc::unavailable, "the status of a run is malformed",
                "was it started by another version of sluice?");
  }
}

std::int64_t now_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string utc(std::int64_t ms) {
  const std::time_t seconds = ms / 1000;
  std::tm time{};
  std::array<char, 32> text{};
  if (::gmtime_r(&seconds, &time) == nullptr) return "?";
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &time)};
}

}  // namespace sluice::launcher
