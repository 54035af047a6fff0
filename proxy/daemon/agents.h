// Who is registered, on which listeners. Only the control thread changes it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "netns/handover.h"
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

  const std::shared_ptr<Agent> agent;
  const std::uint64_t netns_cookie;
  std::vector<std::shared_ptr<Thread>> threads;
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
  // Checks the name and every socket (netns::verify_socket), and begins to serve. Refused: a name
  // that is no agent name or is taken, a socket that is not what its role says, roles missing or
  // twice, sockets of different namespaces, of sluiced's own, or of another live agent's.
  Result<std::shared_ptr<Registration>> add(Application application);

  // Closes the listeners and breaks off the agent's sessions on every thread.
  void remove(const Registration& registration);

  // Stops accepting for all agents; sessions go on.
  void close_listeners();

  // After the last thread has stopped: a later remove() has nothing left to do.
  void end() noexcept {
    ended_ = true;
    live_.clear();
  }

  // What agents used of their limits, by name: outlives their registrations.
  Allowances& allowances() noexcept { return allowances_; }

  std::size_t count() const noexcept { return live_.size(); }
  int sessions() const noexcept;

 private:
  Result<std::uint64_t> verify(const Application& application) const;

  Workers& workers_;
  Shared& shared_;
  std::shared_ptr<const allowlists::Policy> policy_;
  std::map<std::string, std::shared_ptr<Registration>> live_;
  Allowances allowances_;
  bool ended_ = false;
};

}  // namespace sluice::proxy
