#include "proxy/session/drain.h"

#include <array>
#include <boost/asio/buffer.hpp>

namespace sluice::proxy {

Task<void> drain_and_close(Socket& socket, Deadline& deadline, DrainLimits limits) {
  deadline.arm(limits.time);
  ErrorCode error;
  socket.shutdown(Socket::shutdown_send, error);
  std::array<char, 4096> dropped;
  for (std::size_t total = 0; !error && total < limits.bytes && !deadline.expired();) {
    const auto [read_error, size] = co_await socket.async_read_some(asio::buffer(dropped));
    if (read_error) break;
    total += size;
  }
  deadline.disarm();
  socket.close(error);
}

}  // namespace sluice::proxy
