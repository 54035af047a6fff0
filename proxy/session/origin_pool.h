// Idle connections to origins, each kept for the next request of the agent that made it and of no
// other.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "allowlists/policy.h"
#include "proxy/net.h"
#include "proxy/wheel.h"

namespace sluice::proxy {

class Agent;

// What an open connection to an origin is.
struct Connected {
  allowlists::Target target;
  IpAddress address;
  std::weak_ptr<const allowlists::AgentRules> judged_by;  // the last that allowed the address
  Clock::time_point since = Clock::now();                 // when it was dialled

  bool was_judged_by(const std::shared_ptr<const allowlists::AgentRules>& rules) const noexcept {
    return !judged_by.owner_before(rules) && !rules.owner_before(judged_by);
  }
};

// Whether an idle connection is open and nothing waits in it. Bytes that came unasked would be
// taken for the next response, and at an end of file the next request would be lost.
bool is_quiet(Socket& socket) noexcept;

// Belongs to one thread. An agent is its object, not its name: one that registers again begins with
// nothing. Parking and taking cost the same however many connections are kept.
class OriginPool {
 public:
  struct Bounds {
    std::size_t per_target = 16;  // of one agent
    std::size_t per_agent = 512;
    std::size_t all = 1024;
    Clock::duration idle_life = std::chrono::seconds(30);
    // Since it was dialled: a name's new addresses are followed, however busy its old one is.
    Clock::duration oldest = std::chrono::seconds(600);

    // With at most `descriptors`; half of them for one agent.
    Bounds within(std::size_t descriptors) const noexcept;
  };
  struct Kept {
    Socket socket;
    Connected connected;
  };

  OriginPool(Wheel& wheel, Bounds bounds);
  ~OriginPool();
  OriginPool(const OriginPool&) = delete;
  OriginPool& operator=(const OriginPool&) = delete;

  // Keeps an open connection whose response is over. Where a bound is reached, the oldest one goes.
  // Watched soon after: whatever the origin then says or does, it is closed.
  void park(std::shared_ptr<Agent> agent, Kept kept) noexcept;
  // The last one that `agent` parked for `target`, if it is still quiet and was parked within
  // `at_most`. Its address was judged by `judged_by`, perhaps not by the policy of now.
  std::optional<Kept> take(const Agent& agent, const allowlists::Target& target,
                           Clock::duration at_most) noexcept;

  // Closes those of `agent`; null: of all.
  void drop(const Agent* agent) noexcept;
  // Closes those that `may_stay` does not want.
  using MayStay = std::function<bool(const std::shared_ptr<Agent>&, const Connected&)>;
  void review(const MayStay& may_stay);
  // Descriptors are used up: closes the older half. False: there was none.
  bool make_room() noexcept;

  std::size_t size() const noexcept;
  const Bounds& bounds() const noexcept { return bounds_; }

 private:
  struct Idle;
  struct Key;
  struct Shelves;

  void turn() noexcept;
  void watch(Idle& idle);
  // No longer this pool's; whoever asked decides what becomes of it.
  std::shared_ptr<Idle> remove(Idle& idle) noexcept;
  void close(Idle& idle) noexcept;
  void make_place(const Agent& agent, const Key& key) noexcept;

  Wheel& wheel_;
  const Bounds bounds_;
  Clock::time_point last_turn_;
  const std::unique_ptr<Shelves> shelves_;
};

}  // namespace sluice::proxy
