#include "launcher/sessions/run_table.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::array<std::string, 8>;

constexpr std::size_t longest_shown_command = 72;

std::string command_of(const RunStatus& status) {
  std::string line;
  for (const std::string& word : status.command) {
    line += (line.empty() ? "" : " ") + text::printable(word);
  }
  const bool is_long = line.size() > longest_shown_command;
  if (is_long) {
    line.resize(longest_shown_command);
    line.resize(text::valid_utf8_prefix(line));
  }
  return is_long || status.is_command_cut ? line + "..." : line;
}

std::string policy_of(const RunStatus& status) {
  if (!status.shared.empty()) return "(shared)";
  return status.policy.empty() ? "(none)" : text::printable(status.policy);
}

std::string state_of(const RunStatus& status) {
  const std::string name = name_of(status.state);
  return status.status ? fmt::format("{} {}", name, *status.status) : name;
}

Row row_of(const ShownRun& run) {
  const RunStatus& status = run.status;
  const auto count = [&](std::uint64_t DecisionCounts::*member) {
    return run.counts ? fmt::format("{}", *run.counts.*member) : std::string("-");
  };
  return {text::printable(status.agent),
          status.pid > 0 ? fmt::format("{}", status.pid) : "-",
          utc(status.since),
          state_of(status),
          fmt::format("{}/{}", count(&DecisionCounts::allowed), count(&DecisionCounts::blocked)),
          policy_of(status),
          text::printable(status.workspace),
          command_of(status)};
}

Json time_or_null(std::int64_t ms) { return ms > 0 ? Json(utc(ms)) : Json(nullptr); }

Json text_or_null(const std::string& value) { return value.empty() ? Json(nullptr) : Json(value); }

Json json_of(const ShownRun& run) {
  const RunStatus& status = run.status;
  const auto count = [&](std::uint64_t DecisionCounts::*member) {
    return run.counts ? Json(*run.counts.*member) : Json(nullptr);
  };
  return {{"agent", status.agent},
          {"state", name_of(status.state)},
          {"pid", status.pid > 0 ? Json(status.pid) : Json(nullptr)},
          {"since", utc(status.since)},
          {"until", time_or_null(status.until)},
          {"status", status.status ? Json(*status.status) : Json(nullptr)},
          {"workspace", status.workspace},
          {"policy", text_or_null(status.policy)},
          {"shared", text_or_null(status.shared)},
          {"detached", status.is_detached},
          {"command", status.command},
          {"command_cut", status.is_command_cut},
          {"allowed", count(&DecisionCounts::allowed)},
          {"reported", count(&DecisionCounts::reported)},
          {"blocked", count(&DecisionCounts::blocked)}};
}

}  // namespace

std::string to_table(const std::vector<ShownRun>& runs) {
  if (runs.empty()) return "nothing is running\n";
  std::vector<Row> rows{
      {"AGENT", "PID", "SINCE", "STATE", "ALLOWED/BLOCKED", "POLICY", "WORKSPACE", "COMMAND"}};
  for (const ShownRun& run : runs) rows.push_back(row_of(run));
  std::array<std::size_t, std::tuple_size_v<Row>> widths{};
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      table += fmt::format("{:<{}}  ", row[i], widths[i]);
    }
    table += row.back() + "\n";
  }
  return table;
}

std::string to_json(const std::vector<ShownRun>& runs) {
  Json json = Json::array();
  for (const ShownRun& run : runs) json.push_back(json_of(run));
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::launcher
