#include "proxy/session/agent.h"

#include <chrono>

namespace sluice::proxy {
namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

constexpr std::int64_t repeat_after_ms = 2000;
constexpr unsigned sentences_per_second = 20;
constexpr std::size_t remembered_sentences = 256;

}  // namespace

bool Lease::may_say(const std::string& sentence) {
  const std::int64_t now = now_ms();
  const std::lock_guard lock(mutex_);
  if (said_.size() >= remembered_sentences) said_.clear();
  const auto [said, first] = said_.try_emplace(std::hash<std::string>{}(sentence), now);
  if (!first && now - said->second < repeat_after_ms) return false;
  said->second = now;
  if (now - window_began_ >= 1000) {
    window_began_ = now;
    said_in_window_ = 0;
  }
  return ++said_in_window_ <= sentences_per_second;
}

std::shared_ptr<const Fd> Lease::socket() noexcept {
  const std::lock_guard lock(mutex_);
  return socket_;
}

void Lease::end() noexcept {
  const std::lock_guard lock(mutex_);
  socket_.reset();
}

void Lease::tell_denied(const std::string& sentence) noexcept try {
  const auto peer = socket();
  if (peer != nullptr && may_say(sentence)) {
    (void)netns::send_packet(peer->get(), netns::encode(netns::Answer(netns::Denied{sentence})));
  }
} catch (const std::bad_alloc&) {
  // The sentence is lost; the denial stands, in the audit line and on the wire.
}

bool Lease::tell_binding(const netns::Binding& binding) noexcept try {
  if (!has_listener_) return true;
  const auto peer = socket();
  if (peer == nullptr) return false;
  const auto message = netns::encode(netns::Answer(netns::Bindings{{binding}}));
  return netns::send_packet(peer->get(), message).has_value();
} catch (const std::bad_alloc&) {
  return false;
}

}  // namespace sluice::proxy
