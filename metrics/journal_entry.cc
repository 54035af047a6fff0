#include "metrics/journal_entry.h"

namespace sluice::metrics {
namespace {

// The text behind `key`, which is `"name":"`, as it stands; "" where there is none. Agents,
// verdicts and reasons are words: nothing in them is escaped.
std::string_view text_of(std::string_view line, std::string_view key) {
  const std::size_t found = line.find(key);
  if (found == line.npos) return {};
  const std::string_view rest = line.substr(found + key.size());
  return rest.substr(0, rest.find('"'));
}

void add(std::string& entry, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  entry.append(name).append("=").append(value) += '\n';
}

}  // namespace

std::string journal_entry(std::string_view line) {
  const std::string_view verdict = text_of(line, R"(,"verdict":")");
  const std::string_view event = text_of(line, R"(,"event":")");
  const bool is_loss = event == "lines_dropped" || event == "denials_left_out";
  const bool is_leak = event == "probe";
  std::string entry;
  entry.reserve(line.size() + 160);
  add(entry, "SYSLOG_IDENTIFIER", "sluiced");
  add(entry, "PRIORITY", verdict == "deny" || is_loss || is_leak ? "4" : "6");
  add(entry, "MESSAGE", line);
  add(entry, "SLUICE_AGENT", text_of(line, R"(,"agent":")"));
  add(entry, "SLUICE_VERDICT", verdict);
  add(entry, "SLUICE_REASON", text_of(line, R"(,"reason":")"));
  return entry;
}

}  // namespace sluice::metrics
