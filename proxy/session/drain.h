// Closes a connection so that the last word on it arrives.
#pragma once

#include <cstddef>

#include "proxy/net.h"
#include "proxy/wheel.h"

namespace sluice::proxy {

struct DrainLimits {
  std::size_t bytes = 0;
  Clock::duration time{};
};

// Ends our side, then reads and drops what still comes, within `limits`, and closes: a close() with
// unread input would reset the connection and could destroy what was said on its way.
Task<void> drain_and_close(Socket& socket, Deadline& deadline, DrainLimits limits);

}  // namespace sluice::proxy
