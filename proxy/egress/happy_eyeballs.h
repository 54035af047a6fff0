// RFC 8305 without a socket: in which order addresses are tried, and which failure speaks for all.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "base/reason.h"
#include "proxy/net.h"

namespace sluice::proxy {

// RFC 8305 5: how long an attempt stays alone before the next begins. One that fails ends this
// wait.
constexpr std::chrono::milliseconds connection_attempt_delay{250};
// Of one dial. The rest is never dialled: a name of many addresses is no way to open many sockets.
constexpr std::size_t most_attempts = 8;

// RFC 8305 4 with a First Address Family Count of 1: the families alternate, IPv6 first, each in
// the order of `resolved`. An address that comes again is dropped.
std::vector<IpAddress> in_turn(const std::vector<IpAddress>& resolved);

// connect_refused, connect_timeout or unreachable.
Reason reason_of(const ErrorCode& connect_error) noexcept;

// Why no attempt made a connection. The first failure speaks for all; but one that says no more
// than that this machine has no way there (IPv6 without a route) gives way to the first other one.
class FailedAttempts {
 public:
  void note(const IpAddress& address, const ErrorCode& error);
  // What an upstream proxy said of it.
  void note(const IpAddress& address, Reason reason, std::string why);
  // No packet left, for a reason of our own configuration.
  void note_unsent(const IpAddress& address, std::string why);

  // For what was noted at least once.
  const IpAddress& address() const noexcept { return address_; }
  Reason reason() const noexcept { return reason_; }
  // "192.0.2.1: Connection refused"
  const std::string& sentence() const noexcept { return why_; }

 private:
  enum class Held : std::uint8_t { nothing, of_this_machine, of_the_way };
  void take(Held what, const IpAddress& address, Reason reason, std::string why);

  Held held_ = Held::nothing;
  IpAddress address_;
  Reason reason_ = Reason::unreachable;
  std::string why_;
};

}  // namespace sluice::proxy
