// When something of a run is due: a phase that takes too long, its --timeout, the end of its grace:
// pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace sluice::launcher {

class RunClock {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Due : std::uint8_t {
    nothing,
    timeout,  // SIGTERM now; its grace has begun
    kill,     // the grace after a SIGTERM is over
    phase,    // the phase took longer than it may
  };

  // A phase begins, which may take `time`.
  void enter(std::optional<Clock::duration> time, Clock::time_point now);
  // The command runs, for at most `time`.
  void limit_run(Clock::duration time, Clock::time_point now) { run_until_ = now + time; }
  // A SIGTERM was sent: an agent that will not hear it ends all the same. An earlier one counts.
  void begin_grace(Clock::time_point now);
  // The command has ended.
  void end_run();

  std::optional<Clock::time_point> next() const;
  // What is due, once each.
  Due take(Clock::time_point now);

 private:
  static constexpr std::chrono::seconds grace{5};

  std::optional<Clock::time_point> phase_until_;
  std::optional<Clock::time_point> run_until_;
  std::optional<Clock::time_point> kill_at_;
};

// The earlier of two, of which either may be none.
std::optional<RunClock::Clock::time_point> earlier(std::optional<RunClock::Clock::time_point> a,
                                                   std::optional<RunClock::Clock::time_point> b);

}  // namespace sluice::launcher
