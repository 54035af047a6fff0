// Who is in a network namespace, and what the kernel says of them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace sluice::netns {

// All but the caller, as /proc shows them: those that the caller may not look at (ptrace(2), access
// mode checking) are not among them.
std::vector<pid_t> processes_in(int network_namespace);
std::vector<pid_t> threads_of(pid_t process);

// Of a thread, proc_pid_status(5).
struct ThreadStatus {
  uid_t effective_uid = 0;
  std::uint64_t permitted = 0;
  std::uint64_t effective = 0;
  std::uint64_t bounding = 0;
  std::uint64_t ambient = 0;
  bool no_new_privileges = false;
  int seccomp = 0;  // SECCOMP_MODE_*
};
Result<ThreadStatus> status_of(pid_t thread);

}  // namespace sluice::netns
