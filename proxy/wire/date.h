// Writes the time as HTTP has it.
#pragma once

#include <chrono>
#include <string>

namespace sluice::proxy::wire {

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7).
std::string http_date(std::chrono::system_clock::time_point time);
void append_http_date(std::string& out, std::chrono::system_clock::time_point time);

}  // namespace sluice::proxy::wire
