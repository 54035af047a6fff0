// The control groups of one agent: one a hierarchy, made before it starts and gone after it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/cgroup/directory.h"
#include "launcher/cgroup/leaf.h"
#include "launcher/cgroup/place.h"
#include "launcher/cgroup/reached.h"
#include "launcher/plan/limits.h"

namespace sluice::launcher::cgroup {

class Group {
 public:
  // With every limit of `limits` in force; each of them has a ground in `place`. Removes what
  // killed runs have left in any ground of `place` first. May move the calling process and its
  // `company` (Leaf).
  static Result<Group> make(const Place& place, const Limits& limits,
                            const std::vector<pid_t>& company);

  // For join_groups() in a child.
  std::vector<int> entrances() const;
  // What the kernel has counted so far, in words: see in_words().
  std::string tell(int status) const;
  // What was asked for and this kernel has no file for, a sentence; "" for nothing.
  std::string unkept() const;
  // Its own memory limit brought about that end; 137 after SIGKILL.
  bool ended_by_memory(int status) const;

 private:
  struct Part {
    Version version;
    Directory directory;
    Fd entrance;  // cgroup.procs
  };

  explicit Group(const Limits& limits) : limits_(limits) {}
  Result<void> add(const Ground& ground, const std::vector<Controller>& needed,
                   const std::vector<pid_t>& company);
  Reached reached() const;

  Limits limits_;
  std::optional<Leaf> leaf_;  // goes last: what the agent had is below the same ground
  std::vector<Part> parts_;
  std::vector<std::string> unkept_;
};

// Moves the calling process into the groups whose entrances these are.
Result<void> join_groups(const std::vector<int>& entrances);

}  // namespace sluice::launcher::cgroup
