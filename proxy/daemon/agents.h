// Who is registered, on which listeners. Only the control thread changes it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "netns/handover.h"
#include "proxy/daemon/listener_agents.h"
#include "proxy/session/agent.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// One agent's listeners, duplicated into every thread.
class Registration {
 public:
  struct Thread;  // what one thread holds of it

  Registration(std::shared_ptr<Agent> its_agent, std::uint64_t cookie);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // Names this registration in the handover protocol.
  std::string id() const;
  // What it was allowed, and what was blocked, here and by the sluiced before this one.
  netns::Totals counted() const;

  const std::shared_ptr<Agent> agent;
  const std::uint64_t netns_cookie;
  std::vector<std::shared_ptr<Thread>> threads;
  std::vector<netns::RoleSocket> resting;  // its listeners while no thread serves them
  netns::Totals carried;                   // what the sluiced before this one counted
};

using Workers = std::vector<std::unique_ptr<Worker>>;

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
    std::shared_ptr<const Fd> peer;
  };
  // Checks the name and every socket (netns::verify_socket); serve() begins to serve them. Refused:
  // a name that is no agent name or is taken, a socket that is not what its role says, roles
  // missing or twice, sockets of different namespaces, of sluiced's own, or of another live
  // agent's.
  Result<std::shared_ptr<Registration>> add(Application application);
  void serve(const Registration& registration);

  // Closes the listeners and breaks off the agent's sessions on every thread.
  void remove(const Registration& registration);

  // Stops accepting for all agents; sessions go on.
  void close_listeners();

  // Stops accepting for all agents and keeps what is needed to go on: whoever connects meanwhile
  // waits in the kernel's backlogs. In force once rests() holds. An error: no descriptors are left,
  // and nothing has changed.
  Result<void> rest();
  bool rests() const noexcept { return *closing_ == 0; }
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
    live_.clear();
  }

  // What agents used of their limits, by name: outlives their registrations.
  Allowances& allowances() noexcept { return allowances_; }
  // Those that nobody registers.
  ListenerAgents& of_listeners() noexcept { return of_listeners_; }

  std::size_t count() const noexcept { return live_.size(); }
  int sessions() const noexcept;

 private:
  Result<std::uint64_t> verify(const Application& application) const;
  Result<void> open(Registration& registration, const std::vector<netns::RoleSocket>& sockets);

  Workers& workers_;
  Shared& shared_;
  std::shared_ptr<const allowlists::Policy> policy_;
  std::map<std::string, std::shared_ptr<Registration>> live_;
  Allowances allowances_;
  ListenerAgents of_listeners_{shared_.registry, allowances_};
  // Threads that have not closed their listeners yet; outlives what is posted to them.
  std::shared_ptr<std::atomic<int>> closing_ = std::make_shared<std::atomic<int>>(0);
  bool ended_ = false;
};

}  // namespace sluice::proxy
