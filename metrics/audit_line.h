// What an audit line looks like: the text of the file, and nothing about writing it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "metrics/audit.h"

namespace sluice::metrics {

// Lines that are not in the file, told by a line of their own.
struct Gap {
  std::chrono::system_clock::time_point time;
  std::string_view agent;  // empty: of any agent
  std::string_view event;  // "denials_left_out" or "lines_dropped"
  std::uint64_t count = 0;
};

void append_json(std::string& out, const AuditLine& line);
void append_json(std::string& out, const Gap& gap);

}  // namespace sluice::metrics
