// One explicit listener as its threads see it: receives connections and finds out whose they are.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "proxy/auth/password_verifier.h"
#include "proxy/daemon/listener_agents.h"
#include "proxy/daemon/rare_log.h"
#include "proxy/daemon/source_map.h"
#include "proxy/session/caller.h"
#include "proxy/session/tls_front.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// Any thread, but create() and the destructor.
class Door : public std::enable_shared_from_this<Door> {
 public:
  // Fails when the verifier of its passwords cannot be made. `limits` has connections_per_agent.
  static Result<std::shared_ptr<Door>> create(const Config::Listener& listener,
                                              std::shared_ptr<const TlsFront> tls,
                                              ListenerAgents& agents, const Config::Limits& limits);

  // A connection that `worker` accepted: serves it, or closes it at once where too many wait who
  // have not shown who they are.
  void receive(Worker& worker, Socket socket, const IpAddress& from);
  // Whoever arrives is one agent, and that has as many connections as it may.
  bool is_full(const Worker& worker) const noexcept;
  // Ends the verifier of passwords, before the workers go.
  void end() noexcept { verifier_.reset(); }

  // TLS connections that are open.
  int fronts() const noexcept { return fronts_; }
  // "10.1.0.1:3128".
  const std::string& name() const noexcept { return name_; }

 private:
  Door() = default;
  struct Found {
    std::shared_ptr<Agent> agent;
    std::optional<Caller::Refused> refused;
  };
  Result<void> know_agents(const Config::Listener& listener, ListenerAgents& agents);
  Found found(const Worker& worker, std::shared_ptr<Agent> agent) const;
  Found find_at(const Worker& worker, const IpAddress& from) const;
  Found find_by_certificate(const Worker& worker, const std::string& name) const;
  void turn_out(Worker& worker, Socket socket, const IpAddress& from);
  void note_failed_handshake(Worker& worker, const IpAddress& from, const std::string& why);
  struct Arrival {
    Socket socket;
    Found whom;
    Caller caller;
  };
  // Both may outlive the listener.
  static Task<void> serve_tls(std::shared_ptr<Door> self, Worker& worker, Arrival arrival);
  static Task<void> pump(std::shared_ptr<Door> self, Task<void> pumps);

  static constexpr std::chrono::seconds log_each{10};

  std::string name_;
  std::shared_ptr<const TlsFront> tls_;
  std::shared_ptr<WaitingRoom> room_;
  std::shared_ptr<Agent> nobody_;
  // Who arrives; one of:
  std::shared_ptr<Agent> fixed_;
  std::optional<SourceMap> sources_;
  std::shared_ptr<const Passwords> passwords_;
  ListenerAgents* by_certificate_ = nullptr;

  std::unique_ptr<PasswordVerifier> verifier_;
  std::atomic<int> fronts_{0};
  RareLog turned_out_{log_each};
  RareLog failed_handshakes_{log_each};
};

}  // namespace sluice::proxy
