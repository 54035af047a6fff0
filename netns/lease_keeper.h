// Keeps one agent's registration with a sluiced that may die: waits for the next one with the
// listeners open, then with them closed.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/handover.h"
#include "netns/proxy_link.h"

namespace sluice::netns {

class LeaseKeeper {
 public:
  using Clock = std::chrono::steady_clock;
  using Gone = ProxyLink::Gone;
  using Impossible = ProxyLink::Impossible;
  // A sentence that a person should hear.
  struct Notice {
    std::string text;
  };
  using Event = std::variant<Registered, Refused, Denied, Totals, Gone, Impossible, Notice>;

  // What becomes of a registration whose sluiced dies.
  enum class AfterDeath : std::uint8_t {
    wait,  // connections stand still for 30 s, then are refused, until there is a sluiced again
    tell,  // Gone is an event; the caller calls begin_again() or give_up()
  };
  using Connect = std::function<Result<Fd>()>;

  // `connect` answers a non-blocking connection to a sluiced. After a death it is called again and
  // again.
  LeaseKeeper(Connect connect, std::string agent, AfterDeath after_death);

  Result<void> open();
  // Keeps the listeners and registers them; Registered, Refused, Impossible or Gone follows as an
  // event.
  Result<void> hand_over(Listeners listeners);
  bool is_registered() const noexcept { return link_.is_registered(); }
  // It has been registered once, and was not told to end since.
  bool was_registered() const noexcept { return was_registered_; }
  // For sluiced to count; to be tried again where it fails.
  Result<void> report(const netns::Event& event);
  Result<void> report_encoded(const std::string& event);
  // The last that is said, of what is over: nobody waits for what becomes of it.
  void part_with(const netns::Event& event);
  // See ProxyLink::ports().
  std::vector<std::uint16_t> ports() const { return link_.ports(); }
  // Totals, or Gone, follow as an event; a sluiced that dies from here on is not replaced.
  Result<void> unregister();

  int fd() const noexcept { return link_.fd() >= 0 ? link_.fd() : waiting_.get(); }
  // To be called when fd() is readable.
  std::vector<Event> receive(Clock::time_point now);
  // When tick() wants to be called next, for a sluiced that is being waited for.
  std::optional<Clock::time_point> next_tick() const noexcept { return retry_at_; }
  std::vector<Event> tick(Clock::time_point now);

  // Connects and registers the same listeners once more.
  Result<void> begin_again();
  // Closes the listeners: every connection is refused from here on.
  Notice give_up(const std::string& why);
  void disconnect();

  // How often a sluiced that had died was replaced.
  unsigned replacements() const noexcept { return replacements_; }

 private:
  void take(ProxyLink::Event event, Clock::time_point now, std::vector<Event>& events);
  void close_all();
  void stand_down(const std::string& why, Clock::time_point now, std::vector<Event>& events);
  Result<void> remake_listeners();

  Connect connect_;
  AfterDeath after_death_;
  ProxyLink link_;
  Listeners listeners_;
  Fd namespace_;  // of listeners that were closed, to make new ones when sluiced is back
  Fd waiting_;    // connected, but nothing to register yet
  bool was_registered_ = false;
  unsigned replacements_ = 0;
  std::optional<Clock::time_point> retry_at_;
  Clock::time_point retry_until_;
};

}  // namespace sluice::netns
