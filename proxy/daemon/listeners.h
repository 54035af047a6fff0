// Explicit listeners: each finds out which agent a connection is from, and every thread serves
// them.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "proxy/daemon/door.h"
#include "proxy/daemon/listener_agents.h"
#include "proxy/net.h"
#include "proxy/session/tls_front.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// Bound and listening, non-blocking. An error says which address, and what to do.
Result<Fd> listen_on(const Endpoint& at);

// A listener with all that is read from files for it.
struct ReadyListener {
  Config::Listener config;
  std::shared_ptr<const TlsFront> tls;  // null: clients speak plainly
  Fd socket;                            // of listen_on(), or from another sluiced
};
// Without their sockets.
Result<std::vector<ReadyListener>> ready_listeners(const std::vector<Config::Listener>& configured);

// The control thread's. Goes before the workers and after their threads.
class Listeners {
 public:
  // `workers` stay where they are. Fails when a verifier of passwords cannot be made.
  static Result<std::unique_ptr<Listeners>> create(
      const std::vector<std::unique_ptr<Worker>>& workers, ListenerAgents& agents,
      std::vector<ReadyListener> listeners);
  ~Listeners();
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  // Begins to accept on every thread; again after rest(). An error: no descriptors are left, and
  // nobody is served.
  Result<void> serve();
  // Stops accepting; whoever connects meanwhile waits in the kernel's backlogs. In force once
  // rests() holds.
  void rest();
  bool rests() const noexcept { return *accepting_ == 0; }
  // Stops for good: who connects is refused. Sessions go on.
  void close();

  // One for each listener, in the order of create(); none after close().
  std::vector<int> sockets() const;
  // TLS connections that are open, of sessions that may have ended already.
  int fronts() const noexcept;

 private:
  struct Place {
    std::shared_ptr<Door> door;
    Fd socket;
  };
  struct Thread;  // what one thread accepts on
  explicit Listeners(const std::vector<std::unique_ptr<Worker>>& workers) : workers_(workers) {}

  const std::vector<std::unique_ptr<Worker>>& workers_;
  std::vector<Place> places_;
  std::vector<std::shared_ptr<Thread>> threads_;
  // Threads that have not closed their listeners yet; outlives what is posted to them.
  std::shared_ptr<std::atomic<int>> accepting_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace sluice::proxy
