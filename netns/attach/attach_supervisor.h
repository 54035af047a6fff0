// Stays beside a container that was attached: keeps its registration, watches for ways out, ends
// with it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/attach/attach.h"
#include "netns/attach/watch.h"
#include "netns/datagram_count.h"
#include "netns/lease_keeper.h"

namespace sluice::netns {

class AttachSupervisor {
 public:
  using Say = std::function<void(std::string_view)>;
  AttachSupervisor(AttachOrder order, Say say);

  // The network is made and registered; as root there is a state file besides. Otherwise an error,
  // and nothing is left but the rules and routes, by which nothing leaves.
  Result<void> start();
  // What is accepted and no longer promised.
  const std::vector<std::string>& withdrawn() const noexcept { return withdrawn_; }

  // Until the container has ended, or SIGTERM, SIGINT, SIGHUP or SIGQUIT. Answers 0, or 125 when a
  // way out appeared; then and after a signal its network is closed: every connection is refused.
  int run();

 private:
  using Clock = std::chrono::steady_clock;

  Result<void> await_registration();
  Result<void> write_state() const;
  void remove_state() const;
  int poll_timeout() const;
  void on_time();
  void on_signals();
  void on_news();
  void on_lease(std::vector<LeaseKeeper::Event> events);
  void count_datagrams();
  void end(int status);
  void tell_end() const;

  AttachOrder order_;
  Say say_;
  LeaseKeeper lease_;
  std::optional<Target> target_;
  std::optional<WayOutWatch> watch_;
  DatagramCount datagrams_;
  std::vector<std::string> withdrawn_;
  std::uint64_t cookie_ = 0;
  Fd signals_;
  std::optional<Totals> totals_;
  int status_ = 0;
  bool ending_ = false;
  bool done_ = false;
  std::optional<Clock::time_point> end_until_;
  std::optional<Clock::time_point> look_at_path_;
};

// Starts one in a session of its own, with nothing of the caller's open, and returns once it is
// registered.
struct Detached {
  pid_t pid = 0;
  std::vector<std::string> withdrawn;
};
Result<Detached> attach_detached(const AttachOrder& order);

// Ends it by its state file, and waits at most 5 s; then it is killed. No such file, or a
// supervisor that has ended: nothing to do, and the file is removed.
Result<void> end_attached(const StateFolder& folder, LeaseState::Kind kind, std::string_view id);

}  // namespace sluice::netns
