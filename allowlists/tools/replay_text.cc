#include <fmt/core.h>
#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "allowlists/tools/replay.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

using Json = nlohmann::ordered_json;

std::string_view plural(std::uint64_t count) { return count == 1 ? "" : "s"; }

std::string target_text(const ReplayChange& change) {
  if (change.port == 0) return fmt::format("{} (DNS)", text::printable(change.host));
  const bool is_v6 = change.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(is_v6 ? "[{}]:{}" : "{}:{}"), text::printable(change.host),
                     change.port);
}

std::string outcome_text(const ReplayOutcome& outcome) {
  std::string reason(reason_name(outcome.reason));
  if (outcome.would_deny) reason += fmt::format(" (else {})", reason_name(*outcome.would_deny));
  return fmt::format("{} by {}", reason,
                     outcome.rule.empty() ? "default" : text::printable(outcome.rule));
}

void append_table(std::string& out, std::string_view title,
                  const std::vector<ReplayChange>& changes) {
  std::uint64_t decisions = 0;
  for (const ReplayChange& change : changes) decisions += change.count;
  fmt::format_to(std::back_inserter(out), "{}: {} target{}, {} decision{}\n", title, changes.size(),
                 plural(changes.size()), decisions, plural(decisions));
  for (const ReplayChange& change : changes) {
    fmt::format_to(std::back_inserter(out), "{:>8}  {}  {}{}: was {}, now {}", change.count,
                   text::printable(change.agent), target_text(change),
                   change.address ? fmt::format(" at {}", change.address->to_string()) : "",
                   outcome_text(change.old), outcome_text(change.now));
    if (change.reported > 0) {
      fmt::format_to(std::back_inserter(out), " ({} passed only in report mode)", change.reported);
    }
    out += '\n';
  }
}

Json to_object(const ReplayOutcome& outcome) {
  return {{"verdict", verdict_name(outcome.verdict)},
          {"reason", reason_name(outcome.reason)},
          {"would_deny", outcome.would_deny ? reason_name(*outcome.would_deny) : ""},
          {"rule", outcome.rule}};
}

Json to_array(const std::vector<ReplayChange>& changes) {
  Json rows = Json::array();
  for (const ReplayChange& change : changes) {
    rows.push_back({{"agent", change.agent},
                    {"host", change.host},
                    {"port", change.port},
                    {"count", change.count},
                    {"reported", change.reported},
                    {"address", change.address ? change.address->to_string() : ""},
                    {"old", to_object(change.old)},
                    {"new", to_object(change.now)}});
  }
  return rows;
}

}  // namespace

std::string to_text(const ReplayReport& report) {
  std::string out;
  append_table(out, "newly blocked", report.newly_blocked);
  append_table(out, "newly allowed", report.newly_allowed);
  fmt::format_to(std::back_inserter(out), "unchanged: {} allowed, {} denied\n",
                 report.still_allowed, report.still_denied);
  std::string not_judged;
  for (std::size_t i = 0; i < reason_count; ++i) {
    if (report.not_judged[i] == 0) continue;
    not_judged += fmt::format("{}{} {}", not_judged.empty() ? "" : ", ", report.not_judged[i],
                              reason_name(static_cast<Reason>(i)));
  }
  if (!not_judged.empty()) out += fmt::format("not a policy's to change: {}\n", not_judged);
  return out;
}

std::string to_json(const ReplayReport& report, const AuditCounts& counts) {
  Json not_judged = Json::object();
  for (std::size_t i = 0; i < reason_count; ++i) {
    if (report.not_judged[i] == 0) continue;
    not_judged[std::string(reason_name(static_cast<Reason>(i)))] = report.not_judged[i];
  }
  const Json object = {
      {"newly_blocked", to_array(report.newly_blocked)},
      {"newly_allowed", to_array(report.newly_allowed)},
      {"unchanged", {{"allowed", report.still_allowed}, {"denied", report.still_denied}}},
      {"not_judged", not_judged},
      {"skipped",
       {{"events", counts.events},
        {"other_agents", counts.other_agents},
        {"not_understood", counts.not_understood},
        {"left_out", counts.left_out}}}};
  return object.dump(-1, ' ', true, Json::error_handler_t::replace);
}

}  // namespace sluice::allowlists
