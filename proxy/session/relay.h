// Carries bytes both ways between an agent and an origin until both are done.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "metrics/registry.h"
#include "proxy/session/lane.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

// Counts an open tunnel for as long as it lives.
class OpenTunnel {
 public:
  explicit OpenTunnel(metrics::AgentMetrics& counts) : counts_(counts) { counts_.tunnel_opened(); }
  ~OpenTunnel() { counts_.tunnel_closed(end); }
  OpenTunnel(const OpenTunnel&) = delete;
  OpenTunnel& operator=(const OpenTunnel&) = delete;
  metrics::TunnelEnd end = metrics::TunnelEnd::internal;

 private:
  metrics::AgentMetrics& counts_;
};

// The two lanes of a tunnel, on a connected session.origin. Each passes its end of file on as a
// half-close, so that a request that ends first still gets its answer. When one breaks, both do;
// and when neither side has spoken for timeouts.idle.
class Relay {
 public:
  explicit Relay(Session& session);
  // Also while a lane runs, where memory is used up: what waits then finds nothing to do.
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // From the agent: what the session's inbox holds goes first.
  void start_up();
  // Instead: the agent has closed its side, or broke off, before it said anything.
  void end_up() noexcept;
  // From the origin: `early` (null: nothing) is what it said before the tunnel stood.
  void start_down(Inbox* early);

  // The origin spoke, or will not speak: the agent cannot be told anything by us any more.
  bool origin_acted() const noexcept { return down_.has_acted(); }
  // While the agent's first bytes are looked at, nothing comes down.
  void hold_down() noexcept { down_.hold(); }
  void resume_down() noexcept { down_.resume(); }

  // Whether a lane runs. Then, and only then, `co_await lanes_end()`.
  bool is_running() const noexcept { return up_.is_running() || down_.is_running(); }
  auto lanes_end() {
    return asio::async_initiate<const asio::deferred_t, void()>(
        [this](auto resumed) {
          rest_->then = std::make_unique<Resumed<decltype(resumed)>>(std::move(resumed));
          own_.reset();
        },
        asio::deferred);
  }
  // Lets the lane from an origin that has not acted end: both sockets stay open, and nothing was
  // taken from them.
  void stop_down() noexcept { down_.stop(); }

  // Behind the end: how it came.
  metrics::TunnelEnd conclude() noexcept;

  std::uint64_t moved_up() const noexcept { return up_.moved(); }
  std::uint64_t moved_down() const noexcept { return down_.moved(); }

 private:
  friend class Lane;

  // A coroutine that waits.
  struct Waiter {
    virtual ~Waiter() = default;
    virtual void resume() = 0;
  };
  template <class Handler>
  struct Resumed : Waiter {
    explicit Resumed(Handler its_handler) : handler(std::move(its_handler)) {}
    void resume() override { std::move(handler)(); }
    Handler handler;
  };

  // Belongs to the operations that wait, while a coroutine waits for them to end. Where the thread
  // ends first they go, and with the last one that coroutine, and this relay in its frame.
  struct Rest : boost::intrusive_ref_counter<Rest, boost::thread_unsafe_counter> {
    bool gone = false;  // the relay and its lanes
    std::unique_ptr<Waiter> then;
  };

  boost::intrusive_ptr<Rest> rest() const noexcept { return rest_; }
  bool goes_on_without(const Lane& lane) const noexcept;
  void note_bytes() noexcept;
  void break_both(metrics::TunnelEnd how) noexcept;
  void ended() noexcept;
  metrics::TunnelEnd how() const noexcept;

  Session& session_;
  Rest* const rest_;
  boost::intrusive_ptr<Rest> own_;  // until a coroutine waits
  Lane up_;
  Lane down_;
  std::optional<OpenTunnel> open_;           // from the first byte, or the agent's lane, on
  std::optional<metrics::TunnelEnd> broke_;  // by the lane that broke first
};

}  // namespace sluice::proxy
