// One registered agent: its listeners in every thread, and what it came to.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "netns/handover.h"
#include "proxy/session/agent.h"
#include "proxy/worker.h"

namespace sluice::proxy {

using Workers = std::vector<std::unique_ptr<Worker>>;

// Of the control thread, but for what its threads serve.
class Registration {
 public:
  struct Sockets;  // what one thread has of the listeners that came together

  Registration(std::shared_ptr<Agent> its_agent, std::uint64_t cookie, uid_t its_holder);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // Names this registration in the handover protocol.
  std::string id() const;
  // What it was allowed, and what was blocked, here and by the sluiced before this one.
  netns::Totals counted() const;

  // Duplicates the listeners into every thread, to be served by the next serve(). An error:
  // nothing was opened.
  Result<void> open(const Workers& workers, const std::vector<netns::RoleSocket>& sockets);
  // Serves what was opened since the last serve().
  void serve();
  // Stops accepting, soon: `done` is called in the thread of each part once it has stopped, and in
  // each thread at least once.
  void close(const std::function<void(Worker&)>& done);
  // Every close() so far is done, in each thread.
  bool is_closed() const noexcept { return *closing_ == 0; }
  // Duplicates of what the threads serve.
  Result<std::vector<netns::RoleSocket>> duplicates() const;
  // After close() has been done.
  void forget_sockets() noexcept;

  const std::shared_ptr<Agent> agent;
  const std::uint64_t netns_cookie;
  const uid_t holder;                      // who handed it over
  bool has_capture = true;                 // else it has a listener for each port
  std::vector<std::uint16_t> ports;        // of its `port` listeners, sorted
  std::vector<netns::RoleSocket> resting;  // its listeners while no thread serves them
  bool end_noted = false;                  // see Agents::note_end()
  netns::Totals carried;                   // what the sluiced before this one counted

 private:
  std::vector<std::shared_ptr<Sockets>> opened_;
  std::size_t served_ = 0;  // the first so many of opened_
  // Parts that have not stopped yet; outlives what is posted to them.
  std::shared_ptr<std::atomic<int>> closing_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace sluice::proxy
