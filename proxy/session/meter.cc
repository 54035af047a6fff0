#include "proxy/session/meter.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

namespace sluice::proxy {
namespace {

Reason budget_reason(metrics::Direction direction) {
  return direction == metrics::Direction::up ? Reason::upload_budget : Reason::download_budget;
}

// Waits as long as the bandwidth asks, and takes from the budget: how many of `wanted` bytes may
// leave now. 0: none.
Task<std::size_t> meter(Session& session, metrics::Direction direction, std::size_t wanted) {
  Agent& agent = *session.agent;
  const std::uint64_t bandwidth = agent.limits.bandwidth();
  // Portions of a quarter of a second: behind whole buffers, the agent's other connections would
  // wait for a minute.
  std::size_t granted = wanted;
  if (bandwidth != 0) {
    granted = std::min<std::uint64_t>(wanted, std::max<std::uint64_t>(bandwidth / 4, 1));
  }
  if (const auto budget = agent.limits.budget(direction)) {
    granted = agent.allowance->take(direction, *budget, granted, Allowance::Utc::now());
    if (granted == 0 && session.carrying != nullptr) {
      session.carrying->spent = budget_reason(direction);
    }
  }
  if (bandwidth == 0 || granted == 0) co_return granted;
  const auto wait = agent.allowance->pace(direction, bandwidth, granted, Clock::now());
  if (wait <= Clock::duration::zero()) co_return granted;
  co_await session.pause(wait, direction);
  const bool lives = Clock::now() < session.deadline.end();
  if (lives && session.socket.is_open() && session.origin.is_open()) co_return granted;
  agent.allowance->leave_line(direction, bandwidth, granted);
  co_return 0;
}

}  // namespace

Task<Sent> send(Session& session, metrics::Direction direction, std::string_view bytes,
                std::uint64_t& moved) {
  Socket& to = direction == metrics::Direction::up ? session.origin : session.socket;
  while (!bytes.empty()) {
    // A connection that never waits for its sockets is never woken by its deadline.
    if (session.deadline.is_beyond()) co_return Sent::held_back;
    std::size_t granted = bytes.size();
    if (session.agent->limits.meters(direction)) {
      granted = co_await meter(session, direction, bytes.size());
      if (granted == 0) co_return Sent::held_back;
    }
    const auto [error, written] =
        co_await asio::async_write(to, asio::buffer(bytes.substr(0, granted)), Token());
    moved += written;
    session.agent->metrics->moved(direction, written);
    session.deadline.arm(session.worker.shared.timeouts.idle);
    if (error) co_return Sent::broken;
    bytes.remove_prefix(granted);
  }
  co_return Sent::all;
}

}  // namespace sluice::proxy
