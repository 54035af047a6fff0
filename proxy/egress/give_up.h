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
    ErrorCode ignored;  // a closed socket has nothing left to cancel
    if (waiting_.timer != nullptr) waiting_.timer->cancel();
    if (waiting_.socket != nullptr) waiting_.socket->cancel(ignored);
  }
  bool said() const noexcept { return said_; }

 private:
  friend class WaitsFor;
  struct Waiting {
    Timer* timer = nullptr;
    Socket* socket = nullptr;
  };
  Waiting waiting_;
  bool said_ = false;
};

// As long as it lives, giving up (null: nobody can) cancels the timer, or what is under way on the
// socket.
class WaitsFor {
 public:
  WaitsFor(Timer& timer, GiveUp* give_up) noexcept
      : WaitsFor(GiveUp::Waiting{.timer = &timer}, give_up) {}
  WaitsFor(Socket& socket, GiveUp* give_up) noexcept
      : WaitsFor(GiveUp::Waiting{.socket = &socket}, give_up) {}
  ~WaitsFor() {
    if (give_up_ != nullptr) give_up_->waiting_ = before_;
  }
  WaitsFor(const WaitsFor&) = delete;
  WaitsFor& operator=(const WaitsFor&) = delete;

  bool is_over() const noexcept { return give_up_ != nullptr && give_up_->said(); }

 private:
  WaitsFor(GiveUp::Waiting now, GiveUp* give_up) noexcept
      : give_up_(give_up),
        before_(give_up != nullptr ? std::exchange(give_up->waiting_, now) : now) {}

  GiveUp* give_up_;
  GiveUp::Waiting before_;
};

}  // namespace sluice::proxy
