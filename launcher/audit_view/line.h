// One line of an audit log as a person reads it: pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/top/frame.h"

namespace sluice::launcher {

// What columns and filters ask of a line. Texts are what an agent may have chosen, unescaped.
struct AuditText {
  std::string time;  // "2026-01-02T03:04:05.678Z"
  std::string agent;
  std::string via;
  std::string verdict;  // "" of what is no decision
  std::string reason;
  std::string target;   // host and port
  std::string details;  // method and path, how much and how long, or what an event tells
};

// Nothing for what is no audit line.
std::optional<AuditText> read_audit_line(std::string_view json);

// A line of JSON with everything beyond printable ASCII escaped.
std::string ascii_json(std::string_view json);

// Which lines are wanted; an empty text is any.
struct AuditFilter {
  std::string agent;
  std::string verdict;
  std::string since;  // the beginning of a time, compared as text
  bool wants(const AuditText& line) const;
};

// "10m" before `now_ms`, or a time as lines have it, or its beginning ("2026-01-02", "2026-01-02
// 03:04"). Nothing for anything else.
std::optional<std::string> since_text(std::string_view typed, std::int64_t now_ms);

// Columns of lines that come one after the other: as wide as the widest so far.
class AuditColumns {
 public:
  FrameLine line(const AuditText& text);

 private:
  std::size_t agent_ = 8;
  std::size_t target_ = 24;
};

}  // namespace sluice::launcher
