#include "proxy/session/origin_pool.h"

#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <boost/intrusive/list.hpp>
#include <cerrno>
#include <new>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sluice::proxy {
namespace {

namespace intrusive = boost::intrusive;

using AgeHook = intrusive::list_base_hook<intrusive::tag<struct AgeTag>>;
using AgentHook = intrusive::list_base_hook<intrusive::tag<struct AgentTag>>;
using TargetHook = intrusive::list_base_hook<intrusive::tag<struct TargetTag>>;

std::size_t hash_of(const allowlists::Host& host) noexcept {
  if (host.is_name()) return std::hash<std::string>()(host.name());
  const auto& bytes = host.address().bytes();
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace

// A target of an agent; no agent ever finds what another one parked.
struct OriginPool::Key {
  const Agent* agent;
  const allowlists::Target& target;

  std::size_t hash() const noexcept {
    constexpr std::size_t odd = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio: spreads what is added
    const std::size_t whose = std::hash<const Agent*>()(agent);
    return ((whose * odd + target.port) * odd) ^ hash_of(target.host);
  }
};

// One kept connection, which holds itself while it is parked. A wait that is under way holds it
// too.
struct OriginPool::Idle : AgeHook, AgentHook, TargetHook {
  Idle(std::shared_ptr<Agent> owner, Kept what, Clock::time_point now) noexcept
      : agent(std::move(owner)), kept(std::move(what)), since(now) {}

  const std::shared_ptr<Agent> agent;
  Kept kept;
  const Clock::time_point since;
  std::size_t hash = 0;  // of its key
  bool watched = false;
  std::shared_ptr<Idle> self;  // null: not parked any more
};

struct OriginPool::Shelves {
  using ByAge = intrusive::list<Idle, intrusive::base_hook<AgeHook>>;
  using OfAgent = intrusive::list<Idle, intrusive::base_hook<AgentHook>>;
  using Bucket =
      intrusive::list<Idle, intrusive::base_hook<TargetHook>, intrusive::constant_time_size<false>>;

  explicit Shelves(std::size_t most) : buckets(std::bit_ceil(std::max<std::size_t>(most, 1))) {}

  Bucket& bucket(std::size_t hash) noexcept { return buckets[hash & (buckets.size() - 1)]; }
  // NOLINTNEXTLINE(bugprone-exception-escape): the variant of a Host always has a value.
  static bool is_of(const Idle& idle, const Key& key, std::size_t hash) noexcept {
    return idle.hash == hash && idle.agent.get() == key.agent &&
           idle.kept.connected.target == key.target;
  }

  // In the order they were parked, in a bucket the last one first.
  ByAge by_age;
  std::unordered_map<const Agent*, OfAgent> of_agents;  // no empty ones
  std::vector<Bucket> buckets;                          // a power of two
};

bool is_quiet(Socket& socket) noexcept {
  char byte = 0;
  const ssize_t size = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

OriginPool::Bounds OriginPool::Bounds::within(std::size_t descriptors) const noexcept {
  Bounds bounds = *this;
  bounds.all = std::clamp<std::size_t>(descriptors, 1, all);
  bounds.per_agent = std::min(per_agent, (bounds.all + 1) / 2);
  return bounds;
}

OriginPool::OriginPool(Wheel& wheel, Bounds bounds)
    : wheel_(wheel),
      bounds_(bounds),
      last_turn_(wheel.now()),
      shelves_(std::make_unique<Shelves>(bounds.all)) {
  wheel_.at_each_turn([this] { turn(); });
}

OriginPool::~OriginPool() {
  wheel_.at_each_turn(nullptr);
  drop(nullptr);
}

std::size_t OriginPool::size() const noexcept { return shelves_->by_age.size(); }

std::shared_ptr<OriginPool::Idle> OriginPool::remove(Idle& idle) noexcept {
  shelves_->by_age.erase(shelves_->by_age.iterator_to(idle));
  Shelves::Bucket& bucket = shelves_->bucket(idle.hash);
  bucket.erase(bucket.iterator_to(idle));
  const auto of_agent = shelves_->of_agents.find(idle.agent.get());
  of_agent->second.erase(of_agent->second.iterator_to(idle));
  if (of_agent->second.empty()) shelves_->of_agents.erase(of_agent);
  return std::move(idle.self);
}

void OriginPool::close(Idle& idle) noexcept {
  const std::shared_ptr<Idle> closed = remove(idle);
  ErrorCode ignored;
  closed->kept.socket.close(ignored);
}

// For one more. At most one goes: the oldest of the first bound that is reached.
void OriginPool::make_place(const Agent& agent, const Key& key) noexcept {
  const std::size_t hash = key.hash();
  Idle* oldest = nullptr;
  std::size_t of_target = 0;
  for (Idle& idle : shelves_->bucket(hash)) {
    if (!Shelves::is_of(idle, key, hash)) continue;
    oldest = &idle;
    ++of_target;
  }
  const auto of_agent = shelves_->of_agents.find(&agent);
  if (of_target >= bounds_.per_target) {
    close(*oldest);
  } else if (of_agent != shelves_->of_agents.end() &&
             of_agent->second.size() >= bounds_.per_agent) {
    close(of_agent->second.front());
  } else if (shelves_->by_age.size() >= bounds_.all) {
    close(shelves_->by_age.front());
  }
}

void OriginPool::park(std::shared_ptr<Agent> agent, Kept kept) noexcept try {
  if (!kept.socket.is_open()) return;
  if (wheel_.now() - kept.connected.since >= bounds_.oldest) return;
  make_place(*agent, {agent.get(), kept.connected.target});
  auto idle = std::make_shared<Idle>(std::move(agent), std::move(kept), wheel_.now());
  Shelves::OfAgent& of_agent = shelves_->of_agents[idle->agent.get()];
  idle->hash = Key{idle->agent.get(), idle->kept.connected.target}.hash();
  of_agent.push_back(*idle);
  shelves_->by_age.push_back(*idle);
  shelves_->bucket(idle->hash).push_front(*idle);
  Idle& parked = *idle;
  parked.self = std::move(idle);
} catch (const std::bad_alloc&) {
  // Closed, and dialled again when it is needed.
}

std::optional<OriginPool::Kept> OriginPool::take(const Agent& agent,
                                                 const allowlists::Target& target,
                                                 Clock::duration at_most) noexcept {
  const Clock::time_point now = wheel_.now();
  const Key key{&agent, target};
  const std::size_t hash = key.hash();
  Shelves::Bucket& bucket = shelves_->bucket(hash);
  for (;;) {
    const auto newest = std::find_if(bucket.begin(), bucket.end(), [&](const Idle& idle) {
      return Shelves::is_of(idle, key, hash);
    });
    if (newest == bucket.end() || newest->since < now - at_most) return std::nullopt;
    const bool aged = now - newest->kept.connected.since >= bounds_.oldest;
    if (aged || !is_quiet(newest->kept.socket)) {
      close(*newest);
      continue;
    }
    const std::shared_ptr<Idle> taken = remove(*newest);
    ErrorCode ignored;
    if (taken->watched) taken->kept.socket.cancel(ignored);
    return std::move(taken->kept);
  }
}

void OriginPool::drop(const Agent* agent) noexcept {
  if (agent == nullptr) {
    while (!shelves_->by_age.empty()) close(shelves_->by_age.front());
    return;
  }
  for (auto of_agent = shelves_->of_agents.find(agent); of_agent != shelves_->of_agents.end();
       of_agent = shelves_->of_agents.find(agent)) {
    close(of_agent->second.front());
  }
}

void OriginPool::review(const MayStay& may_stay) {
  for (auto next = shelves_->by_age.begin(); next != shelves_->by_age.end();) {
    Idle& idle = *next++;
    if (!may_stay(idle.agent, idle.kept.connected)) close(idle);
  }
}

bool OriginPool::make_room() noexcept {
  const std::size_t half = (shelves_->by_age.size() + 1) / 2;
  for (std::size_t i = 0; i < half; ++i) close(shelves_->by_age.front());
  return half > 0;
}

// A connection that is taken again within a tick or two is never watched: busy ones cost no system
// call for it.
void OriginPool::turn() noexcept try {
  const Clock::time_point now = wheel_.now();
  const Clock::time_point before = std::exchange(last_turn_, now);
  while (!shelves_->by_age.empty() && shelves_->by_age.front().since + bounds_.idle_life <= now) {
    close(shelves_->by_age.front());
  }
  for (auto idle = shelves_->by_age.rbegin(); idle != shelves_->by_age.rend() && !idle->watched;
       ++idle) {
    if (idle->since < before) watch(*idle);
  }
} catch (const std::bad_alloc&) {
  // At the next tick, then.
}

void OriginPool::watch(Idle& idle) {
  idle.kept.socket.async_wait(Socket::wait_read, [this, held = idle.self](const ErrorCode&) {
    // Only what is still parked is this pool's; the pool itself may have gone with its last one.
    if (held->self) close(*held);
  });
  idle.watched = true;
}

}  // namespace sluice::proxy
