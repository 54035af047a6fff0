// Where an agent's control groups can be made: below the caller's own and never above, because an
// outer limit holds for what is below it alone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/strong.h"
#include "launcher/cgroup/hierarchy.h"

namespace sluice::launcher::cgroup {

enum class Controller : std::uint8_t { memory, pids, cpu, io };
// As cgroup v2 names it; v1 has "blkio" for io.
std::string_view to_string(Controller controller) noexcept;

// A directory in which a group can be made.
using MustLeave = YesNo<struct MustLeaveTag>;
struct Ground {
  Version version = Version::v2;
  std::string directory;
  std::vector<Controller> controllers;
  // v2: a group that hands controllers to its children may hold no process, so its one process,
  // the caller, goes into a child first. The root of the hierarchy alone is free of that.
  MustLeave must_leave = MustLeave::no;
};

struct Place {
  std::vector<Ground> grounds;
  std::map<Controller, std::string> lacking;  // why what is in no ground cannot be limited

  const Ground* of(Controller controller) const;
};

// Looks at the files of each hierarchy's own group; changes nothing. `caller` is the process that
// may be moved.
Place find_place(const std::vector<Hierarchy>& hierarchies, pid_t caller);

// Of the calling process, from /proc/self/mountinfo and /proc/self/cgroup.
Result<std::vector<Hierarchy>> own_hierarchies();

}  // namespace sluice::launcher::cgroup
