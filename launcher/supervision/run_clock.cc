#include "launcher/supervision/run_clock.h"

#include <algorithm>

namespace sluice::launcher {
namespace {

bool take_if_due(std::optional<RunClock::Clock::time_point>& time,
                 RunClock::Clock::time_point now) {
  if (!time || now < *time) return false;
  time.reset();
  return true;
}

}  // namespace

void RunClock::enter(std::optional<Clock::duration> time, Clock::time_point now) {
  phase_until_.reset();
  if (time) phase_until_ = now + *time;
}

void RunClock::begin_grace(Clock::time_point now) {
  if (!kill_at_) kill_at_ = now + grace;
}

void RunClock::end_run() {
  run_until_.reset();
  kill_at_.reset();
}

std::optional<RunClock::Clock::time_point> RunClock::next() const {
  return earlier(phase_until_, earlier(run_until_, kill_at_));
}

RunClock::Due RunClock::take(Clock::time_point now) {
  if (take_if_due(run_until_, now)) {
    kill_at_ = now + grace;
    return Due::timeout;
  }
  if (take_if_due(kill_at_, now)) return Due::kill;
  return take_if_due(phase_until_, now) ? Due::phase : Due::nothing;
}

std::optional<RunClock::Clock::time_point> earlier(std::optional<RunClock::Clock::time_point> a,
                                                   std::optional<RunClock::Clock::time_point> b) {
  return a && b ? std::min(a, b) : a ? a : b;
}

}  // namespace sluice::launcher
