#include "proxy/session/origin_pool.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace sluice::proxy {

// One kept connection. A wait that is under way holds on to it, parked or not.
struct OriginPool::Idle {
  Idle(std::shared_ptr<Agent> owner, Kept what, Clock::time_point now) noexcept
      : agent(std::move(owner)), kept(std::move(what)), since(now) {}

  const std::shared_ptr<Agent> agent;
  Kept kept;
  const Clock::time_point since;
  bool parked = true;
  bool watched = false;
};

bool is_quiet(Socket& socket) noexcept {
  char byte = 0;
  const ssize_t size = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

OriginPool::OriginPool(Wheel& wheel, Bounds bounds) : wheel_(wheel), bounds_(bounds) {
  wheel_.at_each_turn([this] { turn(); });
}

OriginPool::~OriginPool() {
  wheel_.at_each_turn(nullptr);
  drop(nullptr);
}

void OriginPool::close(Idle& idle) noexcept {
  idle.parked = false;
  ErrorCode ignored;
  idle.kept.socket.close(ignored);
}

// At most one, the first.
void OriginPool::close_oldest(List::iterator from,
                              const std::function<bool(const Idle&)>& which) noexcept {
  const auto found =
      std::find_if(from, idle_.end(), [&](const auto& idle) { return which(*idle); });
  if (found == idle_.end()) return;
  close(**found);
  idle_.erase(found);
}

void OriginPool::make_place(const Agent& agent, const allowlists::Target& target) noexcept {
  std::size_t of_agent = 0;
  std::size_t of_target = 0;
  for (const auto& idle : idle_) {
    if (idle->agent.get() != &agent) continue;
    ++of_agent;
    if (idle->kept.connected.target == target) ++of_target;
  }
  if (of_target >= bounds_.per_target) {
    close_oldest(idle_.begin(), [&](const Idle& idle) {
      return idle.agent.get() == &agent && idle.kept.connected.target == target;
    });
  } else if (of_agent >= bounds_.per_agent) {
    close_oldest(idle_.begin(), [&](const Idle& idle) { return idle.agent.get() == &agent; });
  } else if (idle_.size() >= bounds_.all) {
    close_oldest(idle_.begin(), [](const Idle&) { return true; });
  }
}

void OriginPool::park(std::shared_ptr<Agent> agent, Kept kept) noexcept try {
  if (!kept.socket.is_open() || !is_quiet(kept.socket)) return;
  make_place(*agent, kept.connected.target);
  idle_.push_back(std::make_shared<Idle>(std::move(agent), std::move(kept), wheel_.now()));
} catch (const std::bad_alloc&) {
  // Closed, and dialled again when it is needed.
}

std::optional<OriginPool::Kept> OriginPool::take(const Agent& agent,
                                                 const allowlists::Target& target,
                                                 Clock::duration at_most) noexcept {
  const Clock::time_point earliest = wheel_.now() - at_most;
  for (std::size_t i = idle_.size(); i-- > 0;) {
    Idle& idle = *idle_[i];
    if (idle.agent.get() != &agent || idle.kept.connected.target != target) continue;
    if (idle.since < earliest) return std::nullopt;
    const auto found = idle_.begin() + static_cast<List::difference_type>(i);
    const std::shared_ptr<Idle> taken = std::move(*found);
    idle_.erase(found);
    if (!is_quiet(taken->kept.socket)) {
      close(*taken);
      continue;
    }
    taken->parked = false;
    ErrorCode ignored;
    if (taken->watched) taken->kept.socket.cancel(ignored);
    return std::move(taken->kept);
  }
  return std::nullopt;
}

void OriginPool::drop(const Agent* agent) noexcept {
  std::erase_if(idle_, [&](const std::shared_ptr<Idle>& idle) {
    if (agent != nullptr && idle->agent.get() != agent) return false;
    close(*idle);
    return true;
  });
}

void OriginPool::review(const MayStay& may_stay) {
  std::erase_if(idle_, [&](const std::shared_ptr<Idle>& idle) {
    if (may_stay(idle->agent, idle->kept.connected)) return false;
    close(*idle);
    return true;
  });
}

bool OriginPool::make_room() noexcept {
  const auto end = idle_.begin() + static_cast<List::difference_type>((idle_.size() + 1) / 2);
  std::for_each(idle_.begin(), end, [this](const auto& idle) { close(*idle); });
  const bool some = end != idle_.begin();
  idle_.erase(idle_.begin(), end);
  return some;
}

// A connection that is taken again within a tick is never watched: busy ones cost no system call
// for it.
void OriginPool::turn() noexcept try {
  const Clock::time_point now = wheel_.now();
  const auto alive = std::find_if(idle_.begin(), idle_.end(), [&](const auto& idle) {
    return idle->since + bounds_.idle_life > now;
  });
  std::for_each(idle_.begin(), alive, [this](const auto& idle) { close(*idle); });
  idle_.erase(idle_.begin(), alive);
  for (std::size_t i = idle_.size(); i-- > 0 && !idle_[i]->watched;) watch(idle_[i]);
} catch (const std::bad_alloc&) {
  // At the next tick, then.
}

void OriginPool::watch(const std::shared_ptr<Idle>& idle) {
  idle->kept.socket.async_wait(Socket::wait_read, [this, idle](const ErrorCode&) {
    // Only what is still parked is this pool's; the pool itself may have gone with its last one.
    if (!idle->parked) return;
    close(*idle);
    std::erase(idle_, idle);
  });
  idle->watched = true;
}

}  // namespace sluice::proxy
