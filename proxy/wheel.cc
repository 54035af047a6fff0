#include "proxy/wheel.h"

#include <algorithm>

namespace sluice::proxy {

void Deadline::arm(Clock::duration after) noexcept {
  expired_ = false;
  // Not from the last tick: a thread that is late would end things early.
  due_ = std::min(Clock::now() + after, end_);
  const std::uint64_t turn = wheel_.turn_of(due_);
  // Put off, it stays where it is and moves on when it is looked at.
  if (is_linked() && turn_ <= turn) return;
  disarm();
  wheel_.put(*this, turn);
}

void Deadline::disarm() noexcept {
  if (is_linked()) unlink();
}

void Deadline::fire() noexcept {
  expired_ = true;
  ErrorCode ignored;  // a closed socket has nothing left to cancel
  first_->cancel(ignored);
  if (second_ != nullptr) second_->cancel(ignored);
}

// The first turn at which `due` has come.
std::uint64_t Wheel::turn_of(Clock::time_point due) const noexcept {
  if (due <= now_) return turns_ + 1;
  return std::max<std::uint64_t>(static_cast<std::uint64_t>((due - begun_) / tick) + 1, turns_ + 1);
}

void Wheel::put(Deadline& deadline, std::uint64_t turn) noexcept {
  deadline.turn_ = std::min(turn, turns_ + slot_count - 1);
  slots_[deadline.turn_ % slot_count].push_back(deadline);
}

void Wheel::turn() noexcept {
  now_ = Clock::now();
  const auto until = static_cast<std::uint64_t>((now_ - begun_) / tick);
  // A thread that stood still for long: each slot once.
  if (until > turns_ + slot_count) turns_ = until - slot_count;
  while (turns_ < until) {
    List due;
    due.swap(slots_[++turns_ % slot_count]);
    while (!due.empty()) {
      Deadline& deadline = due.front();
      due.pop_front();
      const bool is_over = deadline.due_ <= now_;
      if (is_over) deadline.fire();
      // One that is over is fired again at every tick, until it is disarmed.
      put(deadline, is_over ? until + 1 : turn_of(deadline.due_));
    }
  }
  if (each_turn_) each_turn_();
}

Task<void> Wheel::run() {
  for (;;) {
    timer_.expires_after(tick);
    const auto [cancelled] = co_await timer_.async_wait();
    if (cancelled) co_return;
    turn();
  }
}

}  // namespace sluice::proxy
