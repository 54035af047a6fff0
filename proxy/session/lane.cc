#include "proxy/session/lane.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "proxy/session/relay.h"

namespace sluice::proxy {
namespace {

// A read of so much speaks of bulk; after so much of it, splice(2) is the cheaper way, and after so
// many reads of little it is not any more.
constexpr std::size_t large_read = std::size_t{32} * 1024;
constexpr std::uint32_t bulk_after = std::uint32_t{1024} * 1024;
constexpr std::size_t small_read = std::size_t{16} * 1024;
constexpr std::uint8_t small_reads_in_bulk = 16;

// Then the thread's other connections have their turn: about half a millisecond.
constexpr std::size_t bytes_at_once = std::size_t{1024} * 1024;

bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

Lane::~Lane() {
  if (turn_) session_.waits_for_turn(direction_, nullptr);
  end();
}

Socket& Lane::from() const noexcept {
  return direction_ == metrics::Direction::up ? session_.socket : session_.origin;
}

Socket& Lane::to() const noexcept {
  return direction_ == metrics::Direction::up ? session_.origin : session_.socket;
}

void Lane::start(std::string_view first) noexcept {
  state_ = State::running;
  go(first);
}

void Lane::resume() noexcept {
  held_ = false;
  if (std::exchange(ready_, false)) go();
}

void Lane::stop() noexcept {
  if (state_ != State::running) return;
  stopping_ = true;
  if (ready_) {
    end();
    tell_end();
    return;
  }
  ErrorCode ignored;
  from().cancel(ignored);
}

void Lane::go(std::string_view first) noexcept {
  try {
    run(first);
  } catch (const std::exception&) {  // memory, or an executor that failed
    broken(Broken::sender);
  }
  tell_end();
}

// Nothing of this object is touched behind it.
void Lane::tell_end() noexcept {
  if (state_ == State::ended) relay_.ended();
}

void Lane::run(std::string_view first) {
  at_once_ = 0;
  Next next = first.empty() ? Next::go_on : pass_on(first);
  // Seldom is there more at once, and to wait tells.
  if (!begun_ && next == Next::go_on) next = Next::wait_read;
  begun_ = true;
  while (next == Next::go_on) {
    if (in_pipe_ > 0) {
      next = write_from_pipe();
    } else if (!kept_.empty()) {
      next = write_kept();
    } else if (at_once_ >= bytes_at_once) {
      next = Next::wait_read;
    } else {
      next = bulk_ ? read_into_pipe() : read();
    }
  }
  if (next != Next::over) wait(next);
}

// To wait asks anew whether there is something, so that nothing is missed between a read of less
// than there was room for and this.
void Lane::wait(Next what) {
  if (what == Next::wait_turn) return wait_for_turn();
  const bool reads = what == Next::wait_read;
  (reads ? from() : to())
      .async_wait(reads ? Socket::wait_read : Socket::wait_write,
                  [this, rest = relay_.rest()](const ErrorCode& error) {
                    if (!rest->gone) woken(error);
                  });
}

void Lane::woken(const ErrorCode& error) noexcept {
  if (stopping_) {
    end();
  } else if (error) {
    broken(Broken::sender);
  } else if (held_) {
    ready_ = true;
    return;
  } else {
    return go();
  }
  tell_end();
}

// Waiting for its turn is not idling, and the other lane arms the deadline for less.
void Lane::wait_for_turn() {
  const auto idle = session_.worker.shared.timeouts.idle;
  session_.deadline.arm(idle);
  turn_->timer.expires_at(std::min(turn_->at, Clock::now() + idle / 2));
  session_.waits_for_turn(direction_, &turn_->timer);
  turn_->timer.async_wait([this, rest = relay_.rest()](const ErrorCode&) {
    if (!rest->gone) turn_comes();
  });
}

void Lane::turn_comes() noexcept {
  session_.waits_for_turn(direction_, nullptr);
  const Clock::time_point now = Clock::now();
  const bool lives = now < session_.deadline.end() && from().is_open() && to().is_open();
  if (!lives) {
    leave_line(session_, direction_, turn_->grant);
    broken(Broken::sender);
    return tell_end();
  }
  if (now >= turn_->at) granted_ = turn_->grant.bytes;
  go();
}

// go_on: `granted_` of them may leave now.
Lane::Next Lane::meter(std::size_t wanted) {
  if (granted_ > 0) return Next::go_on;
  if (turn_ && Clock::now() < turn_->at) return Next::wait_turn;
  // What never waits for its sockets is never woken by its deadline.
  if (session_.deadline.is_beyond()) return broken(Broken::sender);
  const Grant grant = ask_meter(session_, direction_, wanted);
  if (grant.bytes == 0) return broken(Broken::sender);
  if (grant.wait > Clock::duration::zero()) {
    if (!turn_) turn_ = std::make_unique<Turn>(session_.worker.io);
    turn_->grant = grant;
    turn_->at = std::min(Clock::now() + grant.wait, session_.deadline.end());
    return Next::wait_turn;
  }
  granted_ = grant.bytes;
  return Next::go_on;
}

void Lane::wrote(std::size_t size) noexcept {
  granted_ -= size;
  moved_ += size;
  at_once_ += size;
  relay_.note_bytes();
  count_written(session_, direction_, size);
}

// Bytes of somebody else's memory: what the receiver does not take is copied.
Lane::Next Lane::pass_on(std::string_view bytes) {
  const Next next = write(bytes);
  if (bytes.empty() || next == Next::over) return next;
  buffer_ = std::make_unique_for_overwrite<char[]>(bytes.size());
  std::memcpy(buffer_.get(), bytes.data(), bytes.size());
  kept_ = {buffer_.get(), bytes.size()};
  return next;
}

Lane::Next Lane::write_kept() {
  const Next next = write(kept_);
  if (kept_.empty()) buffer_.reset();
  return next;
}

// What was written is no longer in `bytes`.
Lane::Next Lane::write(std::string_view& bytes) {
  while (!bytes.empty()) {
    const Next may = meter(bytes.size());
    if (may != Next::go_on) return may;
    const std::size_t portion = std::min(bytes.size(), granted_);
    const ssize_t size =
        ::send(to().native_handle(), bytes.data(), portion, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0) return would_block() ? Next::wait_write : broken(Broken::receiver);
    wrote(static_cast<std::size_t>(size));
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return Next::go_on;
}

Lane::Next Lane::read() {
  const std::span<char> scratch = session_.worker.scratch();
  const ssize_t size = ::recv(from().native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (size < 0) return would_block() ? Next::wait_read : broken(Broken::sender);
  if (size == 0) return end_of_file();
  const auto came = static_cast<std::size_t>(size);
  note_read(came);
  const Next next = pass_on({scratch.data(), came});
  const bool was_all = came < scratch.size();
  return next == Next::go_on && was_all ? Next::wait_read : next;
}

void Lane::note_read(std::size_t size) noexcept {
  if (bulk_) {
    small_reads_ = size < small_read ? small_reads_ + 1 : 0;
    if (small_reads_ < small_reads_in_bulk) return;
    bulk_ = false;
    streak_ = 0;
  } else {
    streak_ = size < large_read ? 0 : streak_ + static_cast<std::uint32_t>(size);
    if (streak_ < bulk_after) return;
    bulk_ = true;
    small_reads_ = 0;
    // splice(2) heeds the file's flag alone.
    ErrorCode ignored;
    session_.socket.native_non_blocking(true, ignored);
    session_.origin.native_non_blocking(true, ignored);
  }
}

// Into an empty pipe only: EAGAIN then means that nothing has arrived, not that there is no room.
Lane::Next Lane::read_into_pipe() {
  if (!pipe_) pipe_ = session_.worker.pipes.take(session_.worker.wheel.now());
  if (!pipe_) return read();
  const ssize_t size = ::splice(from().native_handle(), nullptr, pipe_->write.get(), nullptr,
                                pipe_->room, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (size <= 0) {
    const bool nothing_yet = size < 0 && would_block();
    leave_pipe();
    if (nothing_yet) return Next::wait_read;
    return size == 0 ? end_of_file() : broken(Broken::sender);
  }
  in_pipe_ = static_cast<std::size_t>(size);
  note_read(in_pipe_);
  return Next::go_on;
}

Lane::Next Lane::write_from_pipe() {
  const Next may = meter(in_pipe_);
  if (may != Next::go_on) return may;
  const ssize_t size = ::splice(pipe_->read.get(), nullptr, to().native_handle(), nullptr,
                                std::min(in_pipe_, granted_), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (size <= 0) {
    return size < 0 && would_block() ? Next::wait_write : broken(Broken::receiver);
  }
  in_pipe_ -= static_cast<std::size_t>(size);
  session_.worker.shared.registry.path().spliced(static_cast<std::uint64_t>(size));
  wrote(static_cast<std::size_t>(size));
  if (in_pipe_ == 0 && !bulk_) leave_pipe();
  return Next::go_on;
}

// To another tunnel of the thread; with bytes in it that nobody wants, to nobody.
void Lane::leave_pipe() noexcept {
  if (!pipe_) return;
  if (in_pipe_ == 0) {
    session_.worker.pipes.give_back(std::move(*pipe_));
  } else {
    session_.worker.pipes.forget();
  }
  pipe_.reset();
}

Lane::Next Lane::end_of_file() noexcept {
  end();
  // Where both are done, the close that follows says it.
  ErrorCode ignored;
  if (relay_.goes_on_without(*this)) to().shutdown(Socket::shutdown_send, ignored);
  return Next::over;
}

Lane::Next Lane::broken(Broken side) noexcept {
  const bool agent = (direction_ == metrics::Direction::up) == (side == Broken::sender);
  end();
  relay_.break_both(agent ? metrics::TunnelEnd::agent_reset : metrics::TunnelEnd::origin_reset);
  return Next::over;
}

void Lane::end() noexcept {
  state_ = State::ended;
  leave_pipe();
  in_pipe_ = 0;
  kept_ = {};
  buffer_.reset();
}

}  // namespace sluice::proxy
