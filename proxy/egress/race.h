// The attempts of one dial: to several addresses, overlapping as RFC 8305 has it, until one stands.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "allowlists/policy.h"
#include "proxy/egress/attempt.h"
#include "proxy/egress/dialer.h"
#include "proxy/egress/give_up.h"

namespace sluice::proxy {

// What an attempt is when it leads through an upstream proxy.
struct Through {
  const UpstreamProxy& upstream;
  IpAddress address;  // of the upstream proxy: the one that answered
  Socket connected;   // to it; for the first attempt, the others connect anew
  std::string name;   // what it is asked for; "": the address of the attempt
};

struct Course {
  // Asked just before each attempt; one that is refused is passed over.
  std::function<allowlists::Decision(const IpAddress&)> judge;
  std::uint16_t port = 0;  // of the addresses
  Leaving leaving;
  std::optional<Through> through;  // none: directly
  Clock::time_point until;
  std::chrono::milliseconds attempt_delay{};
  GiveUp* give_up = nullptr;  // null: nobody gives up
};

// When it goes, with its coroutine or before, no attempt is left.
class Race {
 public:
  Race(asio::io_context& io, Course course, std::vector<IpAddress> addresses);
  ~Race();
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;

  // Until one attempt stands, all have failed, the time is over or the caller gives up.
  Task<void> run();
  // What came of it; once.
  Dialled outcome();

 private:
  struct Attempt;
  struct State;
  bool proceed();
  void start_next();
  bool start(const IpAddress& address);
  void connect(Attempt& attempt, const IpAddress& address);
  bool may_dial(const IpAddress& address);
  bool exhausted() const noexcept;
  Dialled unfinished() const;

  asio::io_context& io_;
  Course course_;
  const std::vector<IpAddress> addresses_;
  const std::shared_ptr<State> state_;  // shared with the attempts, whose handlers may run later
  std::size_t next_ = 0;
  Clock::time_point next_due_;
  bool out_of_time_ = false;
  // The first refusal speaks for a name none of whose addresses may be dialled.
  std::optional<allowlists::Decision> refusal_;
  IpAddress refused_;
};

}  // namespace sluice::proxy
