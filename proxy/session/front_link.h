// What a session and the TLS connection in front of it tell each other besides bytes.
#pragma once

#include <functional>
#include <utility>

namespace sluice::proxy {

// A Unix socket pair carries no reset, so that both sides' broken ends go through here. Belongs to
// one thread; held by both, and each may end first.
class FrontLink {
 public:
  // By the session, where it would reset its connection, before or after it closes its socket: the
  // client's connection ends at once with a TCP reset and without close_notify, so that the client
  // cannot take what it has for the whole. Nothing to do once the connection has ended.
  void reset() noexcept {
    if (const auto cut = std::exchange(cut_, nullptr)) cut();
  }

  // `then` is called, at most once, when the client's connection broke, and at once if it broke
  // before: a reset, broken TLS, an end without close_notify (a truncation: RFC 8446 6.1), or a
  // reader that stood still. The session breaks off. Null: the session ended first.
  void on_broken(std::function<void()> then) noexcept {
    broken_ = std::move(then);
    if (is_broken_) tell_broken();
  }

  // By the TLS connection.
  void attach(std::function<void()> cut) noexcept { cut_ = std::move(cut); }
  void tell_broken() noexcept {
    is_broken_ = true;
    if (const auto then = std::exchange(broken_, nullptr)) then();
  }

 private:
  std::function<void()> cut_;
  std::function<void()> broken_;
  bool is_broken_ = false;
};

}  // namespace sluice::proxy
