// Who is registered, on which listeners. Only the control thread changes it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "proxy/daemon/agent_account.h"
#include "proxy/daemon/listener_agents.h"
#include "proxy/daemon/registration.h"
#include "proxy/daemon/socket_set.h"

namespace sluice::proxy {

class Agents {
 public:
  Agents(Workers& workers, Shared& shared) : workers_(workers), shared_(shared) {}

  // For every agent, now and to come. What it no longer allows is cut on each thread, soon after.
  void set_policy(std::shared_ptr<const allowlists::Policy> policy);
  const std::shared_ptr<const allowlists::Policy>& policy() const noexcept { return policy_; }

  struct Application {
    std::string name;
    std::vector<netns::RoleSocket> sockets;
    std::vector<netns::Binding> names;
    std::shared_ptr<const Fd> peer;  // null: nobody hears what is said of the agent
    uid_t holder = 0;
  };
  // Checks the name and every socket (check_network()); serve() begins to serve them. Refused: a
  // name that is no agent name or is taken, what is no network, that of another live agent.
  Result<std::shared_ptr<Registration>> add(Application application);
  // More `port` listeners of a live one, served at once.
  Result<void> add_ports(Registration& registration, const std::vector<netns::RoleSocket>& sockets);
  void serve(Registration& registration);

  // Closes the listeners and breaks off the agent's sessions on every thread. Nothing happens to
  // one that is not live.
  void remove(Registration& registration);
  bool is_live(const Registration& registration) const noexcept;
  // The agent was seen to have a way out besides sluiced: audit line, warning, remove(). `what` is
  // a peer's, of any length.
  void withdraw(Registration& registration, std::string_view what);

  // Why the registration came to its end, once: counted, with a line. Of one that has ended
  // already, and while sluiced itself ends, nothing. `status`: what the agent exited with.
  void note_end(Registration& registration, AgentEnd end, std::optional<std::uint64_t> status = {});
  // What a containment check came to, as a supervisor says; `what` it reached, of any length.
  void note_probe(const Registration& registration, metrics::Held held, std::string_view what);

  // Writes a line for each program that a supervisor saw its agent start, and counts them.
  void log_execs(const Registration& registration, const netns::Event& event);

  // Stops accepting for all agents; sessions go on.
  void close_listeners();

  // Stops accepting for all agents and keeps what is needed to go on: whoever connects meanwhile
  // waits in the kernel's backlogs. In force once rests() holds. An error: no descriptors are left,
  // and nothing has changed.
  Result<void> rest();
  bool rests() const noexcept;
  // Serves again after rest(). An error: some agents are not served; to be tried again.
  Result<void> go_on();
  // Another sluiced serves from here on: lets go of all listeners and of the supervisors.
  void leave_to_another();
  const std::map<std::string, std::shared_ptr<Registration>>& live() const noexcept {
    return live_;
  }
  // Breaks off the agent's sessions on every thread.
  void break_off(const std::shared_ptr<Agent>& agent);

  // After the last thread has stopped: a later remove() has nothing left to do.
  void end() noexcept {
    ended_ = true;
    by_cookie_.clear();
    live_.clear();
  }

  // What agents used of their limits, by name: outlives their registrations.
  Allowances& allowances() noexcept { return allowances_; }
  // Those that nobody registers.
  ListenerAgents& of_listeners() noexcept { return of_listeners_; }

  // Everyone who may have a connection now, by name.
  std::vector<AgentAccount> accounts() const;

  std::size_t count() const noexcept { return live_.size(); }
  int sessions() const noexcept;

  // What a user has handed over that is live.
  struct Holding {
    std::size_t agents = 0;
    std::size_t ports = 0;  // `port` listeners
  };
  Holding held_by(uid_t holder) const noexcept;

 private:
  Result<SocketSet> verify(const Application& application) const;

  Workers& workers_;
  Shared& shared_;
  std::shared_ptr<const allowlists::Policy> policy_;
  std::map<std::string, std::shared_ptr<Registration>> live_;
  std::unordered_map<std::uint64_t, const Registration*> by_cookie_;  // of live_
  std::unordered_map<uid_t, Holding> holdings_;                       // of live_; none is empty
  Allowances allowances_;
  ListenerAgents of_listeners_{shared_.registry, allowances_};
  bool ended_ = false;
};

}  // namespace sluice::proxy
