// How the tests of this ring wait: for what must come, however slow the machine is.
#pragma once

#include <poll.h>

#include <chrono>
#include <filesystem>
#include <iterator>

#include "proxy/net.h"

namespace sluice::proxy {

// Longer than what must come takes on any machine; a test that waits in vain fails after it.
inline constexpr std::chrono::seconds patience{60};

// Beyond any test's patience: of what must not decide it.
inline constexpr std::chrono::hours far_away{24};

// Until `condition` holds, which is asked after each handler. False: it never did.
template <class Condition>
bool run_until(asio::io_context& io, const Condition& condition) {
  const auto until = Clock::now() + patience;
  while (!condition() && Clock::now() < until) io.run_one_for(std::chrono::milliseconds(50));
  return condition();
}

// All that is ready, and all that comes of it without a wait. What went through a Unix socket of
// this process is among it.
inline void run_ready(asio::io_context& io) {
  while (io.poll() > 0) continue;
}

// So long, and then all that is ready: the time may pass while this process stands still.
inline void run_for(asio::io_context& io, std::chrono::milliseconds time) {
  io.run_for(time);
  run_ready(io);
}

// Until nothing is left to run.
inline void run_out(asio::io_context& io) { io.run_for(patience); }

// Whether the descriptor can be read, or its other side is gone: by `within`.
inline bool can_be_read(int fd, std::chrono::milliseconds within = {}) {
  pollfd what{fd, POLLIN | POLLRDHUP, 0};
  return ::poll(&what, 1, static_cast<int>(within.count())) == 1;
}

inline std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return std::distance(begin(entries), end(entries));
}

}  // namespace sluice::proxy
