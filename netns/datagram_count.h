// Tells sluiced from time to time how many datagrams of the agent were refused.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "base/error.h"
#include "netns/handover.h"
#include "netns/refused_udp.h"

namespace sluice::netns {

class DatagramCount {
 public:
  using Clock = std::chrono::steady_clock;

  // `counter` is the socket of a RefusedUdp.
  Result<void> start(Fd counter, Clock::time_point now);
  // When tell() wants to be called next; nothing before start().
  std::optional<Clock::time_point> next() const noexcept { return next_; }
  // Gives the event to the sluiced that has the registration.
  using Report = std::function<Result<void>(const Event&)>;
  // Reads the counter and tells what is new. What could not be told now is told with the next. An
  // error: the counter could not be read, and is not read again.
  Result<void> tell(const Report& report, Clock::time_point now);
  // Datagrams of the whole run, as of the last tell().
  std::uint64_t total() const noexcept { return total_; }

 private:
  std::optional<RefusedUdp> counter_;
  std::uint64_t total_ = 0;
  std::uint64_t told_ = 0;
  std::optional<Clock::time_point> next_;
};

}  // namespace sluice::netns
