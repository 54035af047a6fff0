// Waits on a descriptor that somebody else owns.
#pragma once

#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include "proxy/net.h"

namespace sluice::proxy {

// Must go before the descriptor is closed.
class Watched {
 public:
  Watched(asio::io_context& io, int fd) : descriptor_(io) { descriptor_.assign(fd, error_); }
  ~Watched() { close(); }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  // Why it cannot be watched, if it cannot.
  const ErrorCode& error() const noexcept { return error_; }

  // False: it was cancelled, or cannot be watched.
  Task<bool> readable() {
    if (!descriptor_.is_open()) co_return false;
    const auto [waiting] = co_await descriptor_.async_wait(Descriptor::wait_read);
    co_return !waiting;
  }
  void cancel() noexcept {
    ErrorCode ignored;
    descriptor_.cancel(ignored);
  }
  // Watches no longer; the descriptor stays open.
  void close() noexcept {
    if (descriptor_.is_open()) (void)descriptor_.release();
  }

 private:
  using Descriptor = Token::as_default_on_t<asio::posix::basic_stream_descriptor<Executor>>;

  Descriptor descriptor_;
  ErrorCode error_;
};

}  // namespace sluice::proxy
