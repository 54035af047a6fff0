#include "proxy/wheel.h"

#include <algorithm>

namespace sluice::proxy {

void Deadline::arm(Clock::duration after) noexcept {
  expired_ = false;
  due_ = std::min(wheel_.now() + after + Wheel::tick, end_);
  if (!is_linked()) wheel_.armed_.push_back(*this);
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

void Wheel::turn() noexcept {
  now_ = Clock::now();
  for (Deadline& deadline : armed_) {
    if (deadline.due_ <= now_) deadline.fire();
  }
  if (each_turn_) each_turn_();
}

Task<void> Wheel::run() {
  for (;;) {
    timer_.expires_after(tick);
    if (const auto [cancelled] = co_await timer_.async_wait(); cancelled) co_return;
    turn();
  }
}

}  // namespace sluice::proxy
