// Accepts whoever connects to one of sluiced's own listening sockets, until it is told to stop.
#pragma once

#include <functional>

#include "base/fd.h"
#include "proxy/daemon/watched.h"

namespace sluice::proxy {

// Of one thread. Goes before its io_context, and after the last step that it runs.
class Entrance {
 public:
  struct Guests {
    std::function<bool()> have_room;  // no: they wait in the backlog
    std::function<void(Fd)> take;     // non-blocking, close-on-exec
  };

  // `listener` is non-blocking.
  Entrance(asio::io_context& io, Fd listener)
      : io_(io), listener_(std::move(listener)), watched_(io, listener_.get()), resumed_(io) {}

  // Once; until close().
  Task<void> serve(Guests guests);
  // Whoever connects waits in the kernel's backlog, until go_on().
  void rest() noexcept;
  void go_on() noexcept;
  void close() noexcept;

  int fd() const noexcept { return listener_.get(); }

 private:
  Task<void> rest_is_over();

  asio::io_context& io_;
  Fd listener_;
  Watched watched_;
  Timer resumed_;
  bool rests_ = false;
  bool closed_ = false;
};

}  // namespace sluice::proxy
