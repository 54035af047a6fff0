// Claims a host id of its own for each agent (and each embedded proxy) that root starts.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

// Above the ranges of /etc/subuid and of systemd's dynamic and container ids; nothing else uses
// them.
inline constexpr uid_t host_id_base = 0x71000000;
inline constexpr unsigned host_id_count = 65536;

// Where slots of host ids lie: slot N is `size` ids from `base` + N * `size`.
struct HostIdSlots {
  uid_t base = host_id_base;
  unsigned count = host_id_count;
  unsigned size = 1;
};
// For agents that are root of an id range: right behind the single ones.
inline constexpr HostIdSlots host_id_ranges{host_id_base + 0x01000000, 256, 65536};

// Whoever holds the lock on a slot's file has its id; the kernel gives it back when the holder
// ends.
class HostId {
 public:
  // `directory` is made with mode 0700. Starts at a random slot.
  static Result<HostId> claim(const std::string& directory, const HostIdSlots& slots = {});

  // The first one of the slot.
  uid_t value() const noexcept { return value_; }

 private:
  HostId(uid_t value, Fd lock) : value_(value), lock_(std::move(lock)) {}
  uid_t value_;
  Fd lock_;
};

}  // namespace sluice::launcher
