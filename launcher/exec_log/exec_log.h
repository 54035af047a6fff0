// The supervisor's side of the commands log: starts the watcher, and passes on to sluiced what it
// saw.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "netns/handover.h"

namespace sluice::launcher {

class ExecLog {
 public:
  using Clock = std::chrono::steady_clock;
  // Gives the event, which is encoded, to the sluiced that has the registration; an error: to be
  // tried again.
  using Report = std::function<Result<void>(const std::string&)>;

  ExecLog() = default;
  ExecLog(const ExecLog&) = delete;
  ExecLog& operator=(const ExecLog&) = delete;
  ~ExecLog();

  // Forks the watcher over the listener of the agent's exec calls. `set_id`: see be_watcher().
  Result<void> start(Fd listener, Fd set_id);
  // -1: nothing is waited for. While sluiced takes nothing, nothing is read: the watcher counts
  // what does not fit then.
  int fd() const noexcept { return held_ ? -1 : from_watcher_.get(); }
  // When tick() wants to be called next.
  std::optional<Clock::time_point> next() const noexcept { return retry_at_; }
  void tick(const Report& report, Clock::time_point now);
  // To be called when fd() is readable. An error: the watcher is dead, and the agent can start
  // nothing more.
  Result<void> receive(const Report& report, Clock::time_point now);
  // After the agent's last process has ended: all that is still to be told. False: some is not. An
  // error: the watcher is dead, which may be why the agent has ended.
  Result<bool> finish(const Report& report);
  // The child has been reaped elsewhere.
  void on_child(pid_t pid) noexcept;

 private:
  Result<bool> take_next(const Report& report, Clock::time_point now);
  void kill_watcher() noexcept;

  Fd from_watcher_;
  pid_t watcher_ = -1;
  std::optional<std::string> held_;  // as the watcher encoded it: sluiced reads it
  std::optional<Clock::time_point> retry_at_;
};

}  // namespace sluice::launcher
