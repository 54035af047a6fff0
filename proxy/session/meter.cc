#include "proxy/session/meter.h"

namespace sluice::proxy {
namespace {

Reason budget_reason(metrics::Direction direction) {
  return direction == metrics::Direction::up ? Reason::upload_budget : Reason::download_budget;
}

}  // namespace

Task<std::size_t> meter(Session& session, metrics::Direction direction, std::size_t wanted) {
  Agent& agent = *session.agent;
  std::size_t granted = wanted;
  if (const auto budget = agent.limits.budget(direction)) {
    granted = agent.allowance->take(direction, *budget, wanted, Allowance::Utc::now());
    if (granted < wanted && session.carrying != nullptr) {
      session.carrying->spent = budget_reason(direction);
    }
  }
  const std::uint64_t bandwidth = agent.limits.bandwidth();
  if (bandwidth == 0 || granted == 0) co_return granted;
  const auto wait = agent.allowance->pace(direction, bandwidth, granted, Clock::now());
  if (wait <= Clock::duration::zero()) co_return granted;
  co_await session.pause(wait, direction);
  co_return session.socket.is_open() && session.origin.is_open() ? granted : 0;
}

}  // namespace sluice::proxy
