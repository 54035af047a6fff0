#include "proxy/session/waiting_room.h"

namespace sluice::proxy {
namespace {

// Whoever has one address of an IPv6 link has all of its /64.
constexpr std::uint8_t one_link = 64;

IpAddress source_of(const IpAddress& from) noexcept {
  return from.is_v4() ? from : Cidr::around(from, one_link).network;
}

}  // namespace

WaitingRoom::Place& WaitingRoom::Place::operator=(Place&& other) noexcept {
  if (this != &other) {
    leave();
    room_ = std::exchange(other.room_, nullptr);
    source_ = other.source_;
  }
  return *this;
}

void WaitingRoom::Place::leave() noexcept {
  if (const auto room = std::exchange(room_, nullptr)) room->leave(source_);
}

std::optional<WaitingRoom::Place> WaitingRoom::enter(const IpAddress& from) {
  const IpAddress source = source_of(from);
  {
    const std::scoped_lock lock(mutex_);
    if (all_ >= limits_.all) return std::nullopt;
    unsigned& here = from_source_[source];
    if (here >= limits_.per_source) return std::nullopt;
    ++here;
    ++all_;
  }
  return Place(shared_from_this(), source);
}

void WaitingRoom::leave(const IpAddress& source) noexcept {
  const std::scoped_lock lock(mutex_);
  --all_;
  const auto found = from_source_.find(source);
  if (--found->second == 0) from_source_.erase(found);
}

}  // namespace sluice::proxy
