// accept(2) on a listener whose open file another user has as well.
#pragma once

#include <sys/socket.h>

#include <chrono>

#include "base/fd.h"

namespace sluice::proxy {

// So long at most a thread waits for what O_NONBLOCK should have answered at once.
inline constexpr std::chrono::milliseconds longest_accept{10};

// As accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC. Whoever handed the listener over can take
// O_NONBLOCK away from it at any moment, and a connection from under this call: it then ends with
// EINTR after longest_accept, by a timer and a signal of the calling thread. The signal is
// SIGRTMIN.
Fd accept_within_bounds(int listener, sockaddr* from, socklen_t* size) noexcept;

// Whether that has happened, or would: O_NONBLOCK is gone.
bool would_wait(int listener) noexcept;

}  // namespace sluice::proxy
