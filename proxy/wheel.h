// One coarse timer for all deadlines of a thread: arming one costs no system call and no
// allocation, and one that only waits costs nothing at a tick (a hashed timing wheel: Varghese and
// Lauck 1987, scheme 6).
#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <functional>
#include <utility>

#include "proxy/net.h"

namespace sluice::proxy {

class Wheel;

// Ends what its owner is waiting for when a time has passed. Resolution: Wheel::tick.
// Belongs to one thread, like everything in a session.
class Deadline : public boost::intrusive::list_base_hook<
                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  // Sockets whose operations are cancelled when the time is over, again at every tick until the
  // deadline is disarmed: an operation that begins after the first cancellation must not wait for
  // ever.
  Deadline(Wheel& wheel, Socket& first) noexcept : wheel_(wheel), first_(&first) {}
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  // Also cancels `second` (null: none).
  void watch_also(Socket* second) noexcept { second_ = second; }
  void arm(Clock::duration after) noexcept;
  void disarm() noexcept;
  bool expired() const noexcept { return expired_; }

  // However it is armed from now on, it does not let anything wait beyond `end`.
  void never_beyond(Clock::time_point end) noexcept { end_ = end; }
  Clock::time_point end() const noexcept { return end_; }
  // Whether that end has come, armed or not.
  bool is_beyond() const noexcept;

 private:
  friend class Wheel;
  void fire() noexcept;

  Wheel& wheel_;
  Socket* first_;
  Socket* second_ = nullptr;
  Clock::time_point due_;
  std::uint64_t turn_ = 0;  // at which it is looked at: not behind due_
  Clock::time_point end_ = Clock::time_point::max();
  bool expired_ = false;
};

class Wheel {
 public:
  static constexpr std::chrono::milliseconds tick{100};

  explicit Wheel(asio::io_context& io) : timer_(io) {}
  // Ticks for as long as the io_context runs.
  Task<void> run();
  // The time of the last tick, without asking the clock.
  Clock::time_point now() const noexcept { return now_; }
  // Called at every tick; one for all that its owner keeps.
  void at_each_turn(std::function<void()> call) { each_turn_ = std::move(call); }

 private:
  friend class Deadline;
  using List = boost::intrusive::list<Deadline, boost::intrusive::constant_time_size<false>>;
  // A deadline further away is looked at on the way: once in 51 s.
  static constexpr std::uint64_t slot_count = 512;

  void turn() noexcept;
  std::uint64_t turn_of(Clock::time_point due) const noexcept;
  void put(Deadline& deadline, std::uint64_t turn) noexcept;

  Timer timer_;
  const Clock::time_point begun_ = Clock::now();
  Clock::time_point now_ = begun_;
  std::uint64_t turns_ = 0;             // those of [begun_, now_]
  std::array<List, slot_count> slots_;  // by turn
  std::function<void()> each_turn_;
};

inline bool Deadline::is_beyond() const noexcept { return wheel_.now() >= end_; }

}  // namespace sluice::proxy
