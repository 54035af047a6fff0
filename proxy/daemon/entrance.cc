#include "proxy/daemon/entrance.h"

#include <sys/socket.h>

#include "base/log.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// While there is no room, or after a failed accept (descriptors or memory used up).
constexpr auto accept_pause = 100ms;

// What is taken from a guest must not end the entrance.
bool was_taken(const Entrance::Guests& guests, Fd guest) noexcept try {
  guests.take(std::move(guest));
  return true;
} catch (const std::exception& error) {
  log::error("a connection to sluiced was closed: {}", error.what());
  return false;
}

}  // namespace

Task<void> Entrance::rest_is_over() {
  while (rests_ && !closed_) {
    resumed_.expires_at(Clock::time_point::max());
    co_await resumed_.async_wait();
  }
}

Task<void> Entrance::serve(Guests guests) {
  if (watched_.error()) {
    log::error("cannot watch a listening socket: {}", watched_.error().message());
    co_return;
  }
  Timer pause(io_);
  while (!closed_) {
    co_await rest_is_over();
    const bool knocked = co_await watched_.readable();
    if (!knocked || rests_ || closed_) continue;
    Fd guest;
    if (guests.have_room()) {
      guest.reset(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    }
    if (guest && was_taken(guests, std::move(guest))) continue;
    pause.expires_after(accept_pause);
    co_await pause.async_wait();
  }
}

void Entrance::rest() noexcept {
  rests_ = true;
  watched_.cancel();
}

void Entrance::go_on() noexcept {
  rests_ = false;
  resumed_.cancel();
}

void Entrance::close() noexcept {
  closed_ = true;
  watched_.close();
  listener_.reset();
  resumed_.cancel();
}

}  // namespace sluice::proxy
