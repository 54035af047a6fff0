#include "proxy/daemon/watchdog.h"

#include <unistd.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>

#include "proxy/daemon/notify.h"

namespace sluice::proxy {
namespace {

std::optional<long long> number(const char* name) noexcept {
  const char* const text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  long long value = 0;
  const char* const end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, value);
  if (read.ec != std::errc() || read.ptr != end || value < 0) return std::nullopt;
  return value;
}

}  // namespace

std::chrono::microseconds watchdog_limit() noexcept {
  if (std::getenv("WATCHDOG_PID") != nullptr && number("WATCHDOG_PID") != ::getpid()) {
    return std::chrono::microseconds(0);
  }
  return std::chrono::microseconds(number("WATCHDOG_USEC").value_or(0));
}

Task<void> feed_watchdog(std::vector<asio::io_context*> threads, std::chrono::microseconds limit,
                         std::function<bool()> serves) {
  const auto answers = std::make_shared<std::atomic<std::size_t>>(threads.size());
  Timer pause(*threads.front());
  for (;;) {
    if (*answers == threads.size()) {
      if (serves()) notify("WATCHDOG=1");
      *answers = 0;
      for (asio::io_context* const thread : threads) {
        asio::post(*thread, [answers] { ++*answers; });
      }
    }
    pause.expires_after(limit / 4);
    const auto [error] = co_await pause.async_wait();
    if (error) co_return;
  }
}

}  // namespace sluice::proxy
