// Looks at a process of the agent's through /proc: where it is, who started it, and whether the
// file that it wants to run is there.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/strong.h"

namespace sluice::launcher {

struct Kin {
  pid_t process = 0;  // whose thread it is
  pid_t parent = 0;
  std::string parent_name;
};

// All zero and "" for a process that is gone. `process`: its descriptor, -1 for none.
Kin kin_of(pid_t thread, int process = -1);

// Its number in the innermost pid namespace that it is in; 0 for one that is gone.
pid_t innermost_number(pid_t thread);

// What a link of /proc/THREAD leads to, as its own root has it: "cwd", "fd/3". "" where it cannot
// be read.
std::string link_of(pid_t thread, const std::string& name);

// The agent's root: that of all its processes but those that have called chroot(2).
class AgentRoot {
 public:
  using CanChange = YesNo<struct CanChangeTag>;

  // `can_change`: an agent that may call chroot(2).
  explicit AgentRoot(pid_t thread, CanChange can_change = CanChange::no);

  // Whether it is the root of `thread`; if not, its names lead elsewhere.
  bool is_of(pid_t thread) const;

  // Whether execve(2) of this absolute path would find a file that somebody may execute. Links are
  // followed inside the agent's root only. True for what cannot be looked at from outside, such as
  // /proc/self/exe, and links that may lead there.
  bool has_program(const std::string& path) const;

 private:
  Fd look(const std::string& path) const;
  bool is_surely_missing(std::string path) const;

  Fd root_;
  CanChange can_change_;
};

}  // namespace sluice::launcher
