// One process beside all explicit leases: serves them again when sluiced is back, watches for ways
// out, tells what was refused.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/attach/watch.h"
#include "netns/datagram_count.h"
#include "netns/named/state.h"

namespace sluice::netns {

class Resident {
 public:
  using Say = std::function<void(std::string_view)>;
  Resident(StateFolder folder, Say say) : folder_(std::move(folder)), say_(std::move(say)) {}

  // Until SIGTERM, SIGINT, SIGHUP or SIGQUIT; the leases go on without it. Three descriptors a
  // lease: the soft limit is raised to the hard one.
  Result<void> run();

 private:
  using Clock = std::chrono::steady_clock;
  // One lease, as long as its state file tells of this namespace.
  struct Kept {
    LeaseState state;
    std::optional<WayOutWatch> watch;  // none: it has an interface of its own
    DatagramCount datagrams;
  };

  Result<void> start();
  void wait();
  void read_changes();
  void read_folder();
  void read_state(const std::string& file);
  void consider(const LeaseState& state);
  void adopt(const LeaseState& state);
  void visit_proxies();
  void visit(const std::string& proxy);
  bool restore(const std::string& proxy);
  void look_again();
  void on_news(const std::string& key);
  void withdraw(Kept& kept, const std::string& why);
  void count_datagrams();
  bool is_asked_to_end();
  int poll_timeout() const;

  StateFolder folder_;
  Say say_;
  Fd signals_;
  Fd changes_;                         // inotify(7) of the folder
  std::map<std::string, Kept> kept_;   // by kind and id
  std::map<std::string, Fd> proxies_;  // by socket; empty while it is away
  Clock::time_point next_visit_;
  std::optional<Clock::time_point> second_look_;
  Clock::time_point next_count_;
  bool folder_is_unread_ = true;  // or inotify has lost what changed
  bool done_ = false;
};

}  // namespace sluice::netns
