// Starts a coroutine that nobody awaits. The only place that does; an exception ends that coroutine
// alone.
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <exception>

#include "base/log.h"
#include "proxy/net.h"

namespace sluice::proxy {

inline void spawn(asio::io_context& io, Task<void> task) {
  asio::co_spawn(io.get_executor(), std::move(task), [](const std::exception_ptr& failure) {
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      log::error("a session failed: {}", error.what());
    }
  });
}

}  // namespace sluice::proxy
