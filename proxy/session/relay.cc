#include "proxy/session/relay.h"

namespace sluice::proxy {

using metrics::TunnelEnd;

Relay::Relay(Session& session)
    : session_(session),
      rest_(new Rest),
      own_(rest_),
      up_(*this, session, metrics::Direction::up),
      down_(*this, session, metrics::Direction::down) {}

Relay::~Relay() {
  // Without it a coroutine waits for the lanes, and only the end of the thread comes before theirs:
  // all that could wake has gone by then.
  if (own_ && is_running()) own_->gone = true;
}

void Relay::start_up() {
  session_.deadline.arm(session_.worker.shared.timeouts.idle);
  note_bytes();
  up_.start(session_.inbox.view());
  session_.inbox.release();
}

void Relay::end_up() noexcept {
  ErrorCode ignored;
  if (session_.deadline.expired() || session_.broken_off) {
    break_both(TunnelEnd::agent_reset);
  } else {
    session_.origin.shutdown(Socket::shutdown_send, ignored);
  }
}

void Relay::start_down(Inbox* early) {
  session_.deadline.arm(session_.worker.shared.timeouts.idle);
  down_.start(early != nullptr ? early->view() : std::string_view());
  if (early != nullptr) early->release();
}

bool Relay::goes_on_without(const Lane& lane) const noexcept {
  return !(&lane == &up_ ? down_ : up_).has_ended();
}

void Relay::note_bytes() noexcept {
  if (!open_) open_.emplace(*session_.agent->metrics);
}

// The other one wakes with an error.
void Relay::break_both(TunnelEnd how) noexcept {
  if (!broke_) broke_ = how;
  session_.wake();
  ErrorCode ignored;  // closing is best effort: the peer may be gone already
  session_.socket.close(ignored);
  session_.origin.close(ignored);
}

// By the last handler there is; the coroutine may end within, and this relay with it.
void Relay::ended() noexcept {
  if (is_running() || !rest_->then) return;
  const auto then = std::move(rest_->then);
  then->resume();
}

TunnelEnd Relay::conclude() noexcept {
  session_.deadline.disarm();
  const TunnelEnd end = how();
  if (open_) open_->end = end;
  return end;
}

TunnelEnd Relay::how() const noexcept {
  const Visit* visit = session_.carrying;
  if (visit != nullptr && visit->revoked) return TunnelEnd::policy_changed;
  if (visit != nullptr && visit->spent) return TunnelEnd::budget;
  if (session_.broken_off) return TunnelEnd::agent_gone;
  if (Clock::now() >= session_.deadline.end()) return TunnelEnd::lifetime;
  if (session_.deadline.expired()) return TunnelEnd::idle;
  return broke_.value_or(TunnelEnd::closed);
}

}  // namespace sluice::proxy
