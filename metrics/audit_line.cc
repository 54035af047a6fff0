#include "metrics/audit_line.h"

#include "base/text.h"

namespace sluice::metrics {
namespace {

// Most lines are shorter; a longer one grows.
constexpr std::size_t usual_size = 512;

// `{"ts":"2026-01-02T03:04:05.678Z"` (RFC 3339, UTC).
void open_line(std::string& out, std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<milliseconds>(time - day));
  const auto digits = [&out](auto value, std::size_t count, char behind) {
    text::append_decimal(out, static_cast<std::uint64_t>(value), count);
    out += behind;
  };
  out += R"({"ts":")";
  digits(int(date.year()), 4, '-');
  digits(unsigned(date.month()), 2, '-');
  digits(unsigned(date.day()), 2, 'T');
  digits(clock.hours().count(), 2, ':');
  digits(clock.minutes().count(), 2, ':');
  digits(clock.seconds().count(), 2, '.');
  digits(clock.subseconds().count(), 3, 'Z');
  out += '"';
}

// `key` is `,"name":`.
void add_text(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  out += '"';
  text::append_json(out, value);
  out += '"';
}

void add_text_if_any(std::string& out, std::string_view key, std::string_view value) {
  if (!value.empty()) add_text(out, key, value);
}

void add_number(std::string& out, std::string_view key, std::uint64_t value) {
  out += key;
  text::append_decimal(out, value);
}

}  // namespace

void append_json(std::string& out, const AuditLine& line) {
  open_line(out, line.time);
  add_text(out, R"(,"agent":)", line.agent);
  if (!line.members.empty()) {
    add_text(out, R"(,"via":)", via_name(line.via));
    out += line.members;
    out += "}\n";
    return;
  }
  add_text(out, R"(,"session":)", line.session);
  add_text(out, R"(,"via":)", via_name(line.via));
  add_text(out, R"(,"host":)", line.host);
  add_number(out, R"(,"port":)", line.port);
  add_text(out, R"(,"verdict":)", verdict_name(line.verdict));
  add_text(out, R"(,"reason":)", reason_name(line.reason));
  add_text(out, R"(,"would_deny":)", line.would_deny ? reason_name(*line.would_deny) : "");
  add_text(out, R"(,"rule":)", line.rule);
  add_text_if_any(out, R"(,"method":)", line.method);
  add_text_if_any(out, R"(,"path":)", line.path);
  add_text_if_any(out, R"(,"address":)", line.address);
  add_number(out, R"(,"bytes_up":)", line.bytes_up);
  add_number(out, R"(,"bytes_down":)", line.bytes_down);
  const auto ms = line.duration.count();
  add_number(out, R"(,"ms":)", ms > 0 ? static_cast<std::uint64_t>(ms) : 0);
  add_text_if_any(out, R"(,"sni":)", line.sni);
  add_text(out, R"(,"error":)", line.error);
  out += "}\n";
}

void append_json(std::string& out, const Gap& gap) {
  open_line(out, gap.time);
  add_text(out, R"(,"agent":)", gap.agent);
  add_text(out, R"(,"via":)", via_name(Via::event));
  add_text(out, R"(,"event":)", gap.event);
  add_number(out, R"(,"count":)", gap.count);
  out += "}\n";
}

std::string to_json(const AuditLine& line) {
  std::string out;
  out.reserve(usual_size);
  append_json(out, line);
  return out;
}

}  // namespace sluice::metrics
