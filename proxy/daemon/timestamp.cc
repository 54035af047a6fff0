#include "proxy/daemon/timestamp.h"

#include <fmt/core.h>

#include <ctime>

namespace sluice::proxy {

std::string timestamp(std::chrono::system_clock::time_point at) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(at.time_since_epoch());
  const auto ms = std::chrono::floor<std::chrono::milliseconds>(at.time_since_epoch() - whole);
  const std::time_t seconds = whole.count();
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms.count());
}

}  // namespace sluice::proxy
