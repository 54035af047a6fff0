// A moment as JSON tells it.
#pragma once

#include <chrono>
#include <string>

namespace sluice::proxy {

// "2026-01-02T03:04:05.678Z" (RFC 3339, UTC).
std::string timestamp(std::chrono::system_clock::time_point at);

}  // namespace sluice::proxy
