// Tells the service manager's watchdog that every thread of sluiced still works.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "proxy/net.h"

namespace sluice::proxy {

// How long the service manager waits for a word (sd_watchdog_enabled(3)): $WATCHDOG_USEC, unless
// $WATCHDOG_PID names another process. 0: it does not watch.
std::chrono::microseconds watchdog_limit() noexcept;

// Says WATCHDOG=1 four times within `limit`, but only after each of `threads` has come round to
// answer, and while `serves` says so. Runs on the first of them, until it stops; spawn it.
Task<void> feed_watchdog(std::vector<asio::io_context*> threads, std::chrono::microseconds limit,
                         std::function<bool()> serves);

}  // namespace sluice::proxy
