#include "metrics/audit_line.h"

#include <fmt/format.h>

#include <ctime>
#include <iterator>

#include "base/text.h"

namespace sluice::metrics {
namespace {

// `{"ts":"2026-01-02T03:04:05.678Z"` (RFC 3339, UTC).
void open_line(std::string& out, std::chrono::system_clock::time_point time) {
  using std::chrono::milliseconds;
  const auto since_epoch = std::chrono::floor<milliseconds>(time.time_since_epoch());
  const auto whole = std::chrono::floor<std::chrono::seconds>(since_epoch);
  const std::time_t seconds = whole.count();
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  fmt::format_to(std::back_inserter(out), R"({{"ts":"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z")",
                 utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                 utc.tm_sec, (since_epoch - whole).count());
}

void add_text(std::string& out, std::string_view key, std::string_view value) {
  out += ",\"";
  out += key;
  out += "\":\"";
  text::append_json(out, value);
  out += '"';
}

void add_text_if_any(std::string& out, std::string_view key, std::string_view value) {
  if (!value.empty()) add_text(out, key, value);
}

void add_number(std::string& out, std::string_view key, std::uint64_t value) {
  fmt::format_to(std::back_inserter(out), ",\"{}\":{}", key, value);
}

}  // namespace

void append_json(std::string& out, const AuditLine& line) {
  open_line(out, line.time);
  add_text(out, "agent", line.agent);
  add_text(out, "session", line.session);
  add_text(out, "via", via_name(line.via));
  add_text(out, "host", line.host);
  add_number(out, "port", line.port);
  add_text(out, "verdict", verdict_name(line.verdict));
  add_text(out, "reason", reason_name(line.reason));
  add_text(out, "would_deny", line.would_deny ? reason_name(*line.would_deny) : "");
  add_text(out, "rule", line.rule);
  add_text_if_any(out, "method", line.method);
  add_text_if_any(out, "path", line.path);
  add_text_if_any(out, "address", line.address);
  add_number(out, "bytes_up", line.bytes_up);
  add_number(out, "bytes_down", line.bytes_down);
  const auto ms = line.duration.count();
  add_number(out, "ms", ms > 0 ? static_cast<std::uint64_t>(ms) : 0);
  add_text_if_any(out, "sni", line.sni);
  add_text(out, "error", line.error);
  out += "}\n";
}

void append_json(std::string& out, const Gap& gap) {
  open_line(out, gap.time);
  add_text(out, "agent", gap.agent);
  add_text(out, "via", via_name(Via::event));
  add_text(out, "event", gap.event);
  add_number(out, "count", gap.count);
  out += "}\n";
}

std::string to_json(const AuditLine& line) {
  std::string out;
  append_json(out, line);
  return out;
}

}  // namespace sluice::metrics
