#include "proxy/session/relay.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <memory>

#include "proxy/session/meter.h"

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

constexpr std::size_t small_buffer = std::size_t{4} * 1024;
constexpr std::size_t large_buffer = std::size_t{64} * 1024;

struct Direction {
  Session& session;
  Socket& from;
  Socket& to;
  metrics::Direction name;
  Ended from_broke;
  Ended to_broke;
};

// One broken direction ends both: the other wakes with an error.
Ended break_both(Session& session, Ended how) {
  session.wake();
  ErrorCode ignored;  // closing is best effort: the peer may be gone already
  session.socket.close(ignored);
  session.origin.close(ignored);
  return how;
}

// An idle connection holds no buffer: it waits for bytes first. A full read doubles the next
// buffer, so talk stays small and bulk becomes cheap.
Task<Ended> pump(Direction way, std::uint64_t& moved) {
  Session& session = way.session;
  std::unique_ptr<char[]> buffer;
  std::size_t room = small_buffer;
  ErrorCode ignored;
  way.from.non_blocking(true, ignored);  // or read_some() would wait in poll(2)
  for (;;) {
    ErrorCode error;
    std::size_t size = 0;
    if (!buffer) {
      std::tie(error) = co_await way.from.async_wait(Socket::wait_read);
      if (!error) buffer = std::make_unique_for_overwrite<char[]>(room);
    }
    if (!error) size = way.from.read_some(asio::buffer(buffer.get(), room), error);
    if (error == asio::error::would_block) {
      buffer.reset();
      continue;
    }
    if (error == asio::error::eof) {
      way.to.shutdown(Socket::shutdown_send, error);
      co_return Ended::done;
    }
    if (error) co_return break_both(session, way.from_broke);
    const std::string_view bytes(buffer.get(), size);
    const Sent sent = co_await send(session, way.name, bytes, moved);
    if (sent == Sent::broken) co_return break_both(session, way.to_broke);
    if (sent == Sent::held_back) co_return break_both(session, way.from_broke);
    if (size == room && room < large_buffer) {
      room *= 2;
      buffer = std::make_unique_for_overwrite<char[]>(room);
    }
  }
}

// Sends on what was read before the tunnel stood, then pumps.
Task<Ended> pump_behind(Inbox* held, Direction way, std::uint64_t& moved) {
  if (held != nullptr && !held->empty()) {
    const Sent sent = co_await send(way.session, way.name, held->view(), moved);
    if (sent == Sent::broken) co_return break_both(way.session, way.to_broke);
    if (sent == Sent::held_back) co_return break_both(way.session, way.from_broke);
  }
  if (held != nullptr) held->release();
  co_return co_await pump(way, moved);
}

}  // namespace

Task<Ended> carry_up(Session& session, std::uint64_t& moved) {
  co_return co_await pump_behind(&session.inbox,
                                 {session, session.socket, session.origin, metrics::Direction::up,
                                  Ended::agent_broke, Ended::origin_broke},
                                 moved);
}

Task<metrics::TunnelEnd> relay(Session& session, Traffic& traffic, Task<Ended> up) {
  session.deadline.arm(session.worker.shared.timeouts.idle);
  const auto [ended_up, ended_down] =
      co_await (std::move(up) &&
                pump_behind(traffic.early,
                            {session, session.origin, session.socket, metrics::Direction::down,
                             Ended::origin_broke, Ended::agent_broke},
                            traffic.down));
  session.deadline.disarm();
  using metrics::TunnelEnd;
  if (session.carrying != nullptr && session.carrying->revoked) co_return TunnelEnd::policy_changed;
  if (session.carrying != nullptr && session.carrying->spent) co_return TunnelEnd::budget;
  if (session.broken_off) co_return TunnelEnd::agent_gone;
  if (Clock::now() >= session.deadline.end()) co_return TunnelEnd::lifetime;
  if (session.deadline.expired()) co_return TunnelEnd::idle;
  // The one that broke first closed both, so that the other broke as well: `done` decides nothing.
  if (ended_up == Ended::done && ended_down == Ended::done) co_return TunnelEnd::closed;
  const bool agent_broke = ended_up == Ended::agent_broke || ended_down == Ended::agent_broke;
  co_return agent_broke ? TunnelEnd::agent_reset : TunnelEnd::origin_reset;
}

}  // namespace sluice::proxy
