// One thread of sluiced: its io_context and everything that never leaves it.
#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "metrics/audit.h"
#include "metrics/registry.h"
#include "proxy/daemon/config.h"
#include "proxy/egress/dialer.h"
#include "proxy/net.h"
#include "proxy/session/origin_pool.h"
#include "proxy/session/pipe_pool.h"
#include "proxy/wheel.h"
#include "proxy/wire/field.h"

namespace sluice::proxy {

class Agent;
class Session;

// What all threads share and nobody changes while they run.
struct Shared {
  Config::Timeouts timeouts;
  Config::Limits limits;  // connections_per_agent is set
  OwnListeners own_listeners;
  std::string loop_token;  // of this run of sluiced: marks our Via, begins the names of sessions
  metrics::Registry& registry;
  metrics::AuditLog* audit = nullptr;  // set before the first thread starts
  WayOut way_out{};
};

// What a request head may be.
inline wire::HeadLimits head_limits(const Shared& shared) noexcept {
  return {.bytes = shared.limits.header_bytes, .fields = shared.limits.headers};
}

class Worker {
 public:
  // Before sluiced encloses itself (see Resolver).
  static Result<std::unique_ptr<Worker>> create(Shared& shared,
                                                std::shared_ptr<const ResolverSettings> settings);
  ~Worker();

  // Breaks off every session of `agent` (null: of all agents) on this thread, which end by
  // themselves, and closes the idle connections kept for it.
  void break_off(const Agent* agent) noexcept;

  // Agents of this thread have another policy: judges what each session carries again, a few
  // sessions at a time, so that nobody waits for it, and closes the idle connections that it does
  // not allow. A call during such a round begins it anew.
  void review_sessions();

  Shared& shared;
  // Before `io`, with which the last tunnels go.
  PipePool pipes;
  asio::io_context io{1};
  Wheel wheel{io};
  std::optional<Dialer> dialer;
  OriginPool origins;

  using Sessions = boost::intrusive::list<Session, boost::intrusive::constant_time_size<false>>;
  std::unique_ptr<Sessions> sessions;
  std::uint64_t sessions_begun = 0;
  unsigned index = 0;  // of this thread
  // For bytes on their way from one socket to another, within one call.
  std::span<char> scratch() const noexcept { return {scratch_.get(), scratch_size}; }
  std::uint64_t reviews_begun = 0;

 private:
  explicit Worker(Shared& all);
  void review_some();

  static constexpr std::size_t scratch_size = std::size_t{64} * 1024;
  const std::unique_ptr<char[]> scratch_ = std::make_unique_for_overwrite<char[]>(scratch_size);
  bool reviewing_ = false;
  std::unique_ptr<Resolver> resolver_;
  std::optional<RouteQuery> routes_;
};

}  // namespace sluice::proxy
