// One supervisor: its connection, what it may hand over, and what it registered.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "allowlists/policy.h"
#include "proxy/daemon/agents.h"
#include "proxy/daemon/peer_access.h"

namespace sluice::proxy {

// Of the control thread.
class Peer {
 public:
  Peer(Agents& agents, std::shared_ptr<const Fd> socket, uid_t uid, Grant grant);
  // Ends the registration that follows the connection, unless it has been let go of.
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  bool say(const netns::Answer& answer);
  bool refuse(const Error& error);
  // From here on tell_ports() is of this agent.
  void ask_ports(std::string agent);
  // Says which ports the policy opens for the agent that was asked about, unless that was said.
  bool tell_ports();
  // "": nobody asked.
  const std::string& asked_ports() const noexcept { return asked_ports_; }
  // What it registered last and may still speak for, whatever its lease; null: nothing.
  std::shared_ptr<Registration> subject() const;
  // The same for how it ended, also when that is over.
  std::shared_ptr<Registration> last_subject() const;
  // The registration is another sluiced's from here on.
  void let_go() noexcept { registration.reset(); }
  // The next message of this peer is due then; whoever sends more than messages_per_second waits.
  Clock::time_point next_message(Clock::time_point now) noexcept;

  const std::shared_ptr<const Fd> socket;
  const uid_t uid;                             // SO_PEERCRED: of whoever connected (unix(7))
  const Grant grant;                           // the names that it may take
  std::vector<netns::Binding> names;           // for a registration to come
  std::shared_ptr<Registration> registration;  // follows the connection; null: none yet
  std::shared_ptr<Registration> dismissed;     // unregistered; why it ended may still be said
  std::weak_ptr<Registration> leased;          // until it is ended; the last one

 private:
  Agents& agents_;
  std::string asked_ports_;
  std::optional<allowlists::OpenPorts> told_ports_;
  Clock::time_point messages_due_{};
};

}  // namespace sluice::proxy
