// How many wrong passwords an address may still show: ten at once, then one each two seconds.
#pragma once

#include <cstddef>
#include <map>

#include "base/ip_address.h"
#include "proxy/net.h"

namespace sluice::proxy {

// One token bucket an IPv4 address, or /64 of IPv6: who has one IPv6 address mostly has that many.
// Not synchronised.
class TryLimit {
 public:
  struct Rules {
    unsigned tries = 10;
    Clock::duration new_try_each = std::chrono::seconds(2);
    std::size_t addresses = 4096;  // buckets that are not full; all further addresses share one
  };
  explicit TryLimit(const Rules& rules) noexcept : rules_(rules) {}

  // Takes a try. False: none is left.
  bool take(const IpAddress& from, Clock::time_point now);
  // The last take() was for a right password.
  void give_back(const IpAddress& from, Clock::time_point now) noexcept;

  std::size_t size() const noexcept { return full_at_.size(); }

 private:
  Clock::time_point& bucket_of(const IpAddress& key, Clock::time_point now);

  const Rules rules_;
  // When the bucket is full again; not there: it is.
  std::map<IpAddress, Clock::time_point> full_at_;
  Clock::time_point others_full_at_;
  Clock::time_point next_sweep_;
};

}  // namespace sluice::proxy
