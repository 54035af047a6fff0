#include "launcher/audit_view/line.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "launcher/json/shallow_json.h"
#include "launcher/sessions/run_status.h"
#include "launcher/top/sample.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;
using Style = FrameLine::Style;

constexpr std::size_t widest_agent = 63;
constexpr std::size_t widest_target = 48;
constexpr std::string_view time_shape = "0000-00-00T00:00:00.000Z";

// "" where there is none.
std::string text_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || !found->is_string() ? "" : found->get<std::string>();
}

std::uint64_t number_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || !found->is_number_unsigned() ? 0 : found->get<std::uint64_t>();
}

void add(std::string& details, const std::string& more) {
  if (more.empty()) return;
  details += (details.empty() ? "" : "  ") + more;
}

std::string traffic_in(const Json& json) {
  const std::uint64_t up = number_in(json, "bytes_up");
  const std::uint64_t down = number_in(json, "bytes_down");
  const std::uint64_t ms = number_in(json, "ms");
  if (up + down == 0) return ms == 0 ? "" : fmt::format("{} ms", ms);
  return fmt::format("{} up {} down {} ms", short_count(static_cast<double>(up), 1024),
                     short_count(static_cast<double>(down), 1024), ms);
}

void read_decision(const Json& json, AuditText& text) {
  text.verdict = json.at("verdict");
  const std::string would_deny = text_in(json, "would_deny");
  text.reason = would_deny.empty() ? json.at("reason").get<std::string>() : would_deny;
  text.target = target_of(json.at("host").get<std::string>(), json.at("port"));
  const std::string method = text_in(json, "method");
  add(text.details, method.empty() ? "" : method + " " + text_in(json, "path"));
  add(text.details, traffic_in(json));
  if (text.verdict == "deny") add(text.details, "by " + text_in(json, "rule"));
  add(text.details, text_in(json, "error"));
}

void read_exec(const Json& json, AuditText& text) {
  std::string words;
  for (const Json& word : json.at("argv"))
    words += (words.empty() ? "" : " ") + word.get<std::string>();
  const auto status = json.find("exit_status");
  if (status != json.end() && status->is_number()) {
    text.reason = fmt::format("exit {}", status->get<int>());
  }
  text.target = json.at("program");
  text.details = words;
  add(text.details, text_in(json, "error"));
}

// How many, why an agent ended and with which status, or what a containment check found.
void read_event(const Json& json, AuditText& text) {
  text.reason = json.at("event");
  if (json.contains("count")) add(text.details, json["count"].dump());
  add(text.details, text_in(json, "end"));
  const auto status = json.find("exit_status");
  if (status != json.end() && status->is_number()) add(text.details, "exit " + status->dump());
  add(text.details, text_in(json, "error"));
}

AuditText text_of(const Json& json) {
  AuditText text{.time = json.at("ts"),
                 .agent = json.at("agent"),
                 .via = json.at("via"),
                 .verdict = "",
                 .reason = "",
                 .target = "",
                 .details = ""};
  if (json.contains("verdict")) {
    read_decision(json, text);
  } else if (text.via == "exec") {
    read_exec(json, text);
  } else {
    read_event(json, text);
  }
  return text;
}

Style style_of(const AuditText& text) {
  if (text.verdict == "deny") return Style::denied;
  if (text.verdict == "report") return Style::reported;
  return text.verdict.empty() ? Style::faint : Style::plain;
}

bool is_begin_of_time(std::string_view text) {
  if (text.size() < 10 || text.size() > time_shape.size()) return false;
  return std::ranges::equal(text, time_shape.substr(0, text.size()), [](char c, char shape) {
    return shape == '0' ? c >= '0' && c <= '9' : c == shape;
  });
}

}  // namespace

std::optional<AuditText> read_audit_line(std::string_view json) try {
  return text_of(parse_shallow(json));
} catch (const Json::exception&) {
  return std::nullopt;
}

std::string ascii_json(std::string_view json) {
  const Json read = parse_shallow(json);
  return read.dump(-1, ' ', true, Json::error_handler_t::replace);
}

bool AuditFilter::wants(const AuditText& line) const {
  return (agent.empty() || agent == line.agent) && (verdict.empty() || verdict == line.verdict) &&
         line.time >= since;
}

std::optional<std::string> since_text(std::string_view typed, std::int64_t now_ms) {
  if (const auto ago = units::duration(typed)) {
    std::string text = utc(now_ms - ago->count());
    text.pop_back();  // "Z": a fraction of this second comes after it as text
    return text;
  }
  std::string text(typed);
  if (text.size() > 10 && text[10] == ' ') text[10] = 'T';
  if (!is_begin_of_time(text)) return std::nullopt;
  return text;
}

FrameLine AuditColumns::line(const AuditText& text) {
  const std::string agent = ascii(text.agent);
  const std::string target = ascii(text.target);
  agent_ = std::max(agent_, std::min(agent.size(), widest_agent));
  target_ = std::max(target_, std::min(target.size(), widest_target));
  std::string line = fmt::format("{} {:<{}} {:<6} {:<11} {:<16} {:<{}} {}", ascii(text.time), agent,
                                 agent_, text.verdict.empty() ? "-" : ascii(text.verdict),
                                 ascii(text.via), text.reason.empty() ? "-" : ascii(text.reason),
                                 target, target_, ascii(text.details));
  line.resize(line.find_last_not_of(' ') + 1);
  return {std::move(line), style_of(text)};
}

}  // namespace sluice::launcher
