// Lets whoever ordered a dial end it at once, whatever it waits for.
#pragma once

#include <utility>

#include "proxy/net.h"

namespace sluice::proxy {

// Of one dial at a time, on its thread.
class GiveUp {
 public:
  GiveUp() = default;
  GiveUp(const GiveUp&) = delete;
  GiveUp& operator=(const GiveUp&) = delete;

  // What waits wakes up; what begins to wait later does not wait.
  void now() noexcept {
    said_ = true;
    if (waiting_ != nullptr) waiting_->cancel();
  }
  bool said() const noexcept { return said_; }

 private:
  friend class WaitsFor;
  Timer* waiting_ = nullptr;
  bool said_ = false;
};

// As long as it lives, giving up (null: nobody can) cancels the timer.
class WaitsFor {
 public:
  WaitsFor(Timer& timer, GiveUp* give_up) noexcept
      : give_up_(give_up), before_(give_up ? std::exchange(give_up->waiting_, &timer) : nullptr) {}
  ~WaitsFor() {
    if (give_up_ != nullptr) give_up_->waiting_ = before_;
  }
  WaitsFor(const WaitsFor&) = delete;
  WaitsFor& operator=(const WaitsFor&) = delete;

  bool is_over() const noexcept { return give_up_ != nullptr && give_up_->said(); }

 private:
  GiveUp* give_up_;
  Timer* before_;
};

}  // namespace sluice::proxy
