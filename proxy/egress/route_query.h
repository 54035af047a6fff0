// Asks the kernel whether an address is one of this machine's own, at the moment of a dial.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "allowlists/policy.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/ip_address.h"

namespace sluice::proxy {

// Two netlink sockets of a thread (rtnetlink(7)): one asks, and the kernel answers within the send,
// so nothing waits; on the other the kernel tells of every change of addresses, routes, rules,
// links and next hops before the system call that made it returns. An answer is used again as long
// as nothing was told since.
class RouteQuery {
 public:
  struct Memory {
    // Some changes are told before they are made (the end of a route, a link that goes down), so
    // nothing is remembered until this long after the last one.
    std::chrono::milliseconds settling{2000};
    std::chrono::milliseconds life{1000};  // of an answer, whatever the kernel tells
  };
  // Opens the sockets, which needs no privilege. Where the kernel does not tell of changes, every
  // question is asked.
  static Result<RouteQuery> open(Memory memory);
  static Result<RouteQuery> open() { return open(Memory()); }

  // Yes when the route to the address is of type local (RTM_GETROUTE), and also when the kernel's
  // answer cannot be had: an address nobody could judge is treated as the machine's own.
  allowlists::OnThisMachine is_local(const IpAddress& address) noexcept;

  // How often the kernel was asked.
  std::uint64_t asked() const noexcept { return asked_; }

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Answer {
    allowlists::OnThisMachine local = allowlists::OnThisMachine::yes;
    bool is_route = false;  // of a route that there is, not of a failure
  };
  // What was answered last for one of the addresses that share this place.
  struct Known {
    IpAddress address;
    allowlists::OnThisMachine local = allowlists::OnThisMachine::yes;
    std::uint32_t round = 0;
  };

  RouteQuery(Fd asking, Fd telling, Memory memory);
  Answer ask(const IpAddress& address) noexcept;
  Known* place_of(const IpAddress& address) noexcept;
  bool was_told() noexcept;

  Fd socket_;
  unsigned sequence_ = 0;
  std::uint64_t asked_ = 0;

  Fd telling_;
  Memory memory_;
  std::vector<Known> known_;
  std::uint32_t round_ = 1;  // what is known from another one is forgotten
  Time round_began_;
  Time settled_;
};

}  // namespace sluice::proxy
