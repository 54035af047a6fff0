#include "proxy/auth/try_limit.h"

#include <algorithm>

namespace sluice::proxy {
namespace {

IpAddress key_of(const IpAddress& from) noexcept {
  return from.is_v4() ? from : Cidr::around(from, 64).network;
}

}  // namespace

Clock::time_point& TryLimit::bucket_of(const IpAddress& key, Clock::time_point now) {
  if (const auto found = full_at_.find(key); found != full_at_.end()) return found->second;
  if (full_at_.size() >= rules_.addresses && now >= next_sweep_) {
    std::erase_if(full_at_, [&](const auto& bucket) { return bucket.second <= now; });
    next_sweep_ = now + rules_.new_try_each;
  }
  if (full_at_.size() >= rules_.addresses) return others_full_at_;
  return full_at_.emplace(key, now).first->second;
}

bool TryLimit::take(const IpAddress& from, Clock::time_point now) {
  Clock::time_point& full_at = bucket_of(key_of(from), now);
  const Clock::time_point then = std::max(full_at, now) + rules_.new_try_each;
  if (then - now > rules_.tries * rules_.new_try_each) return false;
  full_at = then;
  return true;
}

void TryLimit::give_back(const IpAddress& from, Clock::time_point now) noexcept {
  const auto found = full_at_.find(key_of(from));
  if (found == full_at_.end()) {
    others_full_at_ -= rules_.new_try_each;
    return;
  }
  found->second -= rules_.new_try_each;
  if (found->second <= now) full_at_.erase(found);
}

}  // namespace sluice::proxy
