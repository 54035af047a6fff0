#include "proxy/daemon/rare_log.h"

#include <fmt/core.h>

#include <exception>

#include "base/log.h"

namespace sluice::proxy {

void RareLog::warn(const std::string& sentence) noexcept try {
  const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::steady_clock::now().time_since_epoch())
                               .count();
  std::int64_t next = next_at_;
  if (now < next || !next_at_.compare_exchange_strong(next, now + each_)) {
    ++left_out_;
    return;
  }
  const unsigned left_out = left_out_.exchange(0);
  log::warning("{}{}", sentence,
               left_out == 0 ? std::string() : fmt::format(" (and {} more before it)", left_out));
} catch (const std::exception&) {
  // The sentence is lost.
}

}  // namespace sluice::proxy
