// The sandbox's own processes, as the supervisor sees them: starts, hears, signals and ends them.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/control.h"
#include "launcher/sandbox/enter.h"

namespace sluice::launcher {

class SandboxKeeper {
 public:
  SandboxKeeper() = default;
  SandboxKeeper(const SandboxKeeper&) = delete;
  SandboxKeeper& operator=(const SandboxKeeper&) = delete;
  ~SandboxKeeper() { kill(); }

  // For a root caller: what only root may open, before anything is started.
  static Result<void> open_sources(SandboxStart& start);
  Result<void> start(SandboxStart start);

  // Readable when there is a message, or when the sandbox has ended.
  int fd() const noexcept { return control_.get(); }
  // As receive_control().
  Result<std::optional<ControlMessage>> receive() { return receive_control(control_.get()); }
  Result<void> go();
  // For the agent's process group.
  void signal(int number);
  // Pid 1's death kills all that is in its pid namespace; nothing of it is left afterwards.
  void kill();

  // Pid 1 is announced; it may have been reaped by then.
  void on_born(pid_t pid);
  // A child has been reaped.
  void on_child(pid_t pid);

 private:
  Fd control_;
  pid_t init_ = -1;
  std::vector<pid_t> strangers_;  // reaped without being init_; a handful, one for each restart
};

}  // namespace sluice::launcher
