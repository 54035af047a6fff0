// One registration of one agent with a sluiced: what is asked next, and what its answers mean.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <unordered_set>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/handover.h"

namespace sluice::launcher {

// The listeners of the agent's namespace, in the order of netns::Role; the supervisor's duplicates.
using Listeners = std::array<Fd, netns::role_count>;

// Makes every listener refuse connections at once, whoever else holds it, and closes them.
void close_listeners(Listeners& listeners);

class ProxyLink {
 public:
  // The sluiced has gone, or broke the protocol: `why` is a sentence.
  struct Gone {
    std::string why;
  };
  using Event = std::variant<netns::Registered, netns::Refused, netns::Denied, netns::Totals, Gone>;

  explicit ProxyLink(std::string agent) : agent_(std::move(agent)) {}

  // -1 while there is no sluiced.
  int fd() const noexcept { return handover_.get(); }
  bool is_registered() const noexcept { return state_ == State::registered; }

  // Registers over a new connection, with every synthetic address that earlier ones gave out: names
  // first while there are more than one packet holds. Registered or Refused comes as an event.
  Result<void> register_over(Fd handover, const Listeners& listeners);
  // Totals come as an event.
  Result<void> unregister();
  // Everything that has arrived. Never blocks.
  std::vector<Event> receive();
  void disconnect();

 private:
  enum class State : std::uint8_t { disconnected, sending_names, registering, registered, ending };

  Result<void> send_next();
  void take(netns::Answer answer, std::vector<Event>& events);
  void remember(std::vector<netns::Binding> names);

  std::string agent_;
  Fd handover_;
  State state_ = State::disconnected;
  const Listeners* listeners_ = nullptr;
  std::vector<netns::Binding> names_;
  std::unordered_set<std::uint32_t> known_;  // the indexes in names_
  std::size_t names_sent_ = 0;
};

}  // namespace sluice::launcher
