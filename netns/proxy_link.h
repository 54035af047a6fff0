// One registration of one agent with a sluiced: what is asked next, and what its answers mean.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_set>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/handover.h"

namespace sluice::netns {

// The listeners of the agent's namespace, in the order of Role; the supervisor's duplicates. Those
// that its kernel cannot have are empty (build_agent_network()).
using Listeners = std::array<Fd, role_count>;

// Makes every listener refuse connections at once, whoever else holds it, and closes them.
void close_listeners(Listeners& listeners);

class ProxyLink {
 public:
  // The sluiced has gone, or broke the protocol: `why` is a sentence.
  struct Gone {
    std::string why;
  };
  // This machine cannot give the agent the network that its policy asks for.
  struct Impossible {
    Error error;
  };
  using Event = std::variant<Registered, Refused, Denied, Totals, Gone, Impossible>;

  explicit ProxyLink(std::string agent) : agent_(std::move(agent)) {}

  // -1 while there is no sluiced.
  int fd() const noexcept { return handover_.get(); }
  bool is_registered() const noexcept { return state_ == State::registered; }

  // Registers over a new connection, with every synthetic address that earlier ones gave out: names
  // first while there are more than one packet holds. Registered, Refused or Impossible comes as an
  // event. Listeners without tproxy4 are those of a network without capture rules: sluiced is asked
  // first for the ports that the policy opens, and a listener for each is made and registered as
  // well, now and whenever a new policy opens more. The caller must then have one thread only.
  Result<void> register_over(Fd handover, const Listeners& listeners);
  // What was seen of the agent. On a full socket: Errc::unavailable, to be tried again.
  Result<void> report(const netns::Event& event);
  // The same for one that is encoded already.
  Result<void> report_encoded(const std::string& event);
  // The same where there is no again: waits for a few seconds while the socket is full.
  Result<void> report_last(const netns::Event& event);
  // Those that were opened for a network without capture rules, sorted.
  std::vector<std::uint16_t> ports() const;
  // Like close_listeners() for the listeners of these.
  void close_ports();
  // Totals come as an event. Waits as report_last() does.
  Result<void> unregister();
  // Everything that has arrived. Never blocks.
  std::vector<Event> receive();
  void disconnect();

 private:
  enum class State : std::uint8_t {
    disconnected,
    asking_ports,
    sending_names,
    registering,
    registered,
    ending
  };
  struct PortListener {
    Fd fd;
    bool is_handed = false;  // over this connection
  };

  Result<void> ask(const Request& request, const std::vector<int>& fds = {});
  Result<void> ask_patiently(const Request& request);
  Result<void> send_next();
  Result<void> send_register(std::vector<Binding> names);
  Result<void> open_ports(const Ports& ports);
  Result<void> add_ports();
  std::vector<int> unhanded_ports(std::size_t most);
  void take_ports(const Ports& ports, std::vector<Event>& events);
  void take_accepted(std::vector<Event>& events);
  void take(Answer answer, std::vector<Event>& events);
  void remember(std::vector<Binding> names);

  std::string agent_;
  Fd handover_;
  State state_ = State::disconnected;
  const Listeners* listeners_ = nullptr;
  std::vector<Binding> names_;
  std::unordered_set<std::uint32_t> known_;  // the indexes in names_
  std::size_t names_sent_ = 0;
  std::map<std::uint16_t, PortListener> ports_;
  std::size_t adds_ = 0;  // not yet answered
};

}  // namespace sluice::netns
