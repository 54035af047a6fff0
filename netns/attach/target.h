// The process or namespace that somebody wants to attach, held so that its pid can be used again
// without harm.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::netns {

class Target {
 public:
  // The network namespace of a process, at a time when it certainly lived. Refused: that of the
  // caller, or of pid 1, which is the machine's own.
  static Result<Target> of_process(pid_t pid);
  static Result<Target> at_path(const std::string& path);

  int network() const noexcept { return network_.get(); }
  // Readable when the process has ended; -1 for a path, which must be asked from time to time.
  int process() const noexcept { return process_.get(); }
  // The process has ended, or the path leads to another namespace, or to none.
  bool has_ended() const;
  // "process 4711", "'/run/netns/web'"
  const std::string& name() const noexcept { return name_; }
  const std::string& path() const noexcept { return path_; }

 private:
  Fd process_;  // a pidfd
  Fd network_;
  std::string path_;
  std::string name_;
};

}  // namespace sluice::netns
