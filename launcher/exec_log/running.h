// The programs that run: when each ends, and how.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "netns/seen_exec.h"

namespace sluice::launcher {

// Waits by pidfd; the exit status of another's child is told since Linux 6.15 (PIDFD_INFO_EXIT).
class Running {
 public:
  using Clock = std::chrono::steady_clock;
  using Tell = std::function<void(netns::SeenExec)>;

  // Further programs are told without their end.
  static constexpr std::size_t most = 1024;

  // `epoll`: where ends make a process's number readable; `tell` gets each program once.
  Running(int epoll, Tell tell);

  // A descriptor of the process, to be taken while it is sure to be the one that is meant and
  // waits: what it runs until then is not what ends later. `open`, where there is one. Empty: there
  // is no room.
  Fd hold(pid_t process, Fd open = {});
  // It runs `seen` from now on; a program that it ran before has become this one.
  void begin(netns::SeenExec seen, Fd process, Clock::time_point now);
  // epoll said something of this process.
  void look(pid_t process, std::uint32_t events, Clock::time_point now);
  // Tells of all that are left, without an end.
  void give_up();
  bool empty() const noexcept { return programs_.empty(); }

 private:
  struct Program {
    netns::SeenExec seen;
    Fd process;
    Clock::time_point since;
    std::optional<Clock::time_point> ended;
    bool is_replaced = false;  // it was alive when its process asked for another
  };
  using Programs = std::unordered_map<pid_t, Program>;

  void end(Programs::iterator at);

  int epoll_;
  Tell tell_;
  bool tells_status_;
  std::size_t room_;
  Programs programs_;
};

}  // namespace sluice::launcher
