#include "proxy/daemon/intake.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

#include "base/fd.h"
#include "base/log.h"
#include "proxy/daemon/accept_within.h"
#include "proxy/daemon/rare_log.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// So that many who connect do not keep others of the thread from their turn; and few, because
// sessions that run in step take their memory in step, from beyond what malloc(3) has at hand.
constexpr int most_at_once = 4;
// After a failed accept (descriptors, memory or epoll watches used up): long enough not to spin.
constexpr auto recover_pause = 100ms;
// While the agent has as many connections as it may.
constexpr auto full_pause = 20ms;

// Of all listeners and threads: what fails is the process's.
RareLog failed_accepts{1s};

// accept(2): what is already wrong with the new connection is told as well.
bool is_of_connection(int error) noexcept {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<void> Intake::open(int listener) {
  Fd copy(::fcntl(listener, F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  ::getsockname(copy.get(), reinterpret_cast<sockaddr*>(&own), &size);
  ErrorCode error;
  acceptor_.assign(own.ss_family == AF_INET ? Tcp::v4() : Tcp::v6(), copy.get(), error);
  if (error) {
    return fail(Errc::unavailable, fmt::format("cannot watch a listener: {}", error.message()));
  }
  (void)copy.release();
  return {};
}

void Intake::close() noexcept {
  ErrorCode ignored;
  acceptor_.close(ignored);
}

Intake::Then Intake::explain_failure(int error) const noexcept try {
  if (error == EAGAIN || error == EWOULDBLOCK) return Then::wait;
  if (is_of_connection(error)) return Then::look_again;
  // Connections that nobody uses go first.
  if (error == EMFILE && worker_.origins.make_room()) return Then::look_again;
  failed_accepts.warn(
      fmt::format("cannot accept {}: {}", what(), std::generic_category().message(error)));
  return Then::recover;
} catch (const std::exception&) {
  return Then::recover;
}

Fd Intake::accept(TcpEndpoint& from) {
  const int listener = acceptor_.native_handle();
  auto size = static_cast<socklen_t>(from.capacity());
  if (trust_ == Trust::own) {
    Fd fd(::accept4(listener, from.data(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) from.resize(size);
    return fd;
  }
  const bool waits = would_wait(listener);
  Fd fd = waits ? Fd() : accept_within_bounds(listener, from.data(), &size);
  const int error = errno;
  if (fd) from.resize(size);
  if (!fd && (waits || (error == EINTR && would_wait(listener)))) {
    failed_accepts.warn(fmt::format(
        "cannot accept {}: who handed the listener over has made it blocking; it is closed",
        what()));
    close();
  }
  errno = waits ? EAGAIN : error;
  return fd;
}

Intake::Then Intake::take_one() noexcept try {
  TcpEndpoint from;
  Fd fd = accept(from);
  if (!fd) return explain_failure(errno);
  Socket socket(worker_.io);
  ErrorCode error;
  socket.assign(from.protocol(), fd.get(), error);
  if (error) return explain_failure(error.value());
  (void)fd.release();
  take(std::move(socket), from_asio(from.address()));
  return Then::look_again;
} catch (const std::exception&) {
  return Then::look_again;  // this connection is closed; the listener stays
}

Intake::Then Intake::take_some() noexcept {
  for (int i = 0; i < most_at_once; ++i) {
    if (!acceptor_.is_open()) return Then::wait;
    if (is_full()) return Then::rest;
    const Then then = take_one();
    if (then != Then::look_again) return then;
  }
  return Then::wait;
}

// The wait ends at once while somebody is left in the backlog.
Task<void> Intake::serve(std::shared_ptr<Intake> self) {
  Timer pause(self->worker_.io);
  while (self->acceptor_.is_open()) {
    const auto [error] = co_await self->acceptor_.async_wait(Acceptor::wait_read);
    if (error) co_return;
    const Then then = self->take_some();
    if (then == Then::wait) continue;
    pause.expires_after(then == Then::rest ? Clock::duration(full_pause) : recover_pause);
    co_await pause.async_wait();
  }
}

}  // namespace sluice::proxy
