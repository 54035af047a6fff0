#include "proxy/session/meter.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include "proxy/session/at_once.h"

namespace sluice::proxy {
namespace {

Reason budget_reason(metrics::Direction direction) {
  return direction == metrics::Direction::up ? Reason::upload_budget : Reason::download_budget;
}

// Waits for its turn. No: the session ended meanwhile.
Task<bool> turn_comes(Session& session, metrics::Direction direction, const Grant& grant) {
  co_await session.pause(grant.wait, direction);
  const bool lives = Clock::now() < session.deadline.end();
  if (lives && session.socket.is_open() && session.origin.is_open()) co_return true;
  leave_line(session, direction, grant);
  co_return false;
}

}  // namespace

Grant ask_meter(Session& session, metrics::Direction direction, std::size_t wanted) noexcept {
  Agent& agent = *session.agent;
  Grant grant{.bytes = wanted};
  if (!agent.limits.meters(direction)) return grant;
  const std::uint64_t bandwidth = agent.limits.bandwidth();
  // Portions of a quarter of a second: behind whole buffers, the agent's other connections would
  // wait for a minute.
  if (bandwidth != 0) {
    grant.bytes = std::min<std::uint64_t>(wanted, std::max<std::uint64_t>(bandwidth / 4, 1));
  }
  if (const auto budget = agent.limits.budget(direction)) {
    grant.bytes = agent.allowance->take(direction, *budget, grant.bytes, Allowance::Utc::now());
    if (grant.bytes == 0 && session.carrying != nullptr) {
      session.carrying->spent = budget_reason(direction);
    }
  }
  if (bandwidth == 0 || grant.bytes == 0) return grant;
  grant.bandwidth = bandwidth;
  const auto wait = agent.allowance->pace(direction, bandwidth, grant.bytes, Clock::now());
  grant.wait = std::max(wait, Clock::duration::zero());
  return grant;
}

void leave_line(Session& session, metrics::Direction direction, const Grant& grant) noexcept {
  if (grant.bandwidth == 0) return;
  session.agent->allowance->leave_line(direction, grant.bandwidth, grant.bytes);
}

void count_written(Session& session, metrics::Direction direction, std::size_t bytes) noexcept {
  session.agent->metrics->moved(direction, bytes);
  session.deadline.arm(session.worker.shared.timeouts.idle);
}

Task<Sent> send(Session& session, metrics::Direction direction, std::string_view bytes,
                std::uint64_t& moved) {
  Socket& to = direction == metrics::Direction::up ? session.origin : session.socket;
  while (!bytes.empty()) {
    // A connection that never waits for its sockets is never woken by its deadline.
    if (session.deadline.is_beyond()) co_return Sent::held_back;
    const Grant grant = ask_meter(session, direction, bytes.size());
    if (grant.bytes == 0) co_return Sent::held_back;
    if (grant.wait > Clock::duration::zero()) {
      const bool comes = co_await turn_comes(session, direction, grant);
      if (!comes) co_return Sent::held_back;
    }
    const std::string_view portion = bytes.substr(0, grant.bytes);
    const std::size_t at_once = write_at_once(to, portion);
    if (at_once > 0) {
      moved += at_once;
      count_written(session, direction, at_once);
    }
    if (at_once < portion.size()) {
      const std::string_view rest = portion.substr(at_once);
      const auto [error, written] = co_await asio::async_write(to, asio::buffer(rest), Token());
      moved += written;
      count_written(session, direction, written);
      if (error) co_return Sent::broken;
    }
    bytes.remove_prefix(grant.bytes);
  }
  co_return Sent::all;
}

}  // namespace sluice::proxy
