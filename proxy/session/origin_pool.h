// Idle connections to origins, each kept for the next request of the agent that made it and of no
// other.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "allowlists/policy.h"
#include "proxy/net.h"
#include "proxy/wheel.h"

namespace sluice::proxy {

class Agent;

// What an open connection to an origin is.
struct Connected {
  allowlists::Target target;
  IpAddress address;
  std::weak_ptr<const allowlists::Policy> judged_by;  // the last policy that allowed the address
};

// Whether an idle connection is open and nothing waits in it. Bytes that came unasked would be
// taken for the next response, and at an end of file the next request would be lost.
bool is_quiet(Socket& socket) noexcept;

// Belongs to one thread. An agent is its object, not its name: one that registers again begins with
// nothing.
class OriginPool {
 public:
  struct Bounds {
    std::size_t per_target = 8;  // of one agent
    std::size_t per_agent = 32;
    std::size_t all = 256;
    Clock::duration idle_life = std::chrono::seconds(30);
  };
  struct Kept {
    Socket socket;
    Connected connected;
  };

  OriginPool(Wheel& wheel, Bounds bounds);
  ~OriginPool();
  OriginPool(const OriginPool&) = delete;
  OriginPool& operator=(const OriginPool&) = delete;

  // Keeps a connection that is quiet, and closes any other. Where a bound is reached, the oldest
  // one goes. Watched from the next tick on: whatever the origin then says or does, it is closed.
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

  std::size_t size() const noexcept { return idle_.size(); }
  const Bounds& bounds() const noexcept { return bounds_; }

 private:
  struct Idle;
  using List = std::vector<std::shared_ptr<Idle>>;  // in the order they were parked

  void turn() noexcept;
  void watch(const std::shared_ptr<Idle>& idle);
  void close(Idle& idle) noexcept;
  void close_oldest(List::iterator from, const std::function<bool(const Idle&)>& which) noexcept;
  void make_place(const Agent& agent, const allowlists::Target& target) noexcept;

  Wheel& wheel_;
  const Bounds bounds_;
  List idle_;
};

}  // namespace sluice::proxy
