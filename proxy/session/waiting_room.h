// Bounds the connections of one listener whose callers have not shown who they are.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/ip_address.h"

namespace sluice::proxy {

// Any thread. The lock covers a look into a map, twice in the life of a connection.
class WaitingRoom : public std::enable_shared_from_this<WaitingRoom> {
 public:
  struct Limits {
    unsigned all = 0;
    unsigned per_source = 0;  // an IPv4 address, or the /64 of an IPv6 address
  };
  // One connection's, as long as it lives.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept
        : room_(std::exchange(other.room_, nullptr)), source_(other.source_) {}
    Place& operator=(Place&& other) noexcept;
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { leave(); }

    void leave() noexcept;

   private:
    friend class WaitingRoom;
    Place(std::shared_ptr<WaitingRoom> room, const IpAddress& source) noexcept
        : room_(std::move(room)), source_(source) {}

    std::shared_ptr<WaitingRoom> room_;
    IpAddress source_;
  };

  explicit WaitingRoom(Limits limits) noexcept : limits_(limits) {}

  // Nothing: it is full, or full for this source.
  std::optional<Place> enter(const IpAddress& from);

 private:
  void leave(const IpAddress& source) noexcept;

  const Limits limits_;
  std::mutex mutex_;
  unsigned all_ = 0;                           // guarded by mutex_
  std::map<IpAddress, unsigned> from_source_;  // guarded by mutex_; none at 0
};

}  // namespace sluice::proxy
