// Gives up what a process could do beyond the agent's own id: host root, core files, descriptors.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/error.h"
#include "launcher/cgroup/means.h"

namespace sluice::launcher {

// For a root caller's child: becomes the host id `id` (uid and gid) with no supplementary groups
// and no way back. PR_SET_PDEATHSIG is cleared by it.
Result<void> become_host_id(uid_t id);

// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: the caller's keys are possessed through the session
// keyring that every child inherits.
Result<void> join_new_keyring();

// Kills the calling process when its parent *thread* ends; to be called after every change of ids.
Result<void> die_with_parent();

// Whether the machine's core files go to a program (core(5)); also where that cannot be read.
bool cores_are_piped();

// Raises a hard limit of 0 to the 1 that limit_resources() sets. Only root can; where somebody else
// cannot, limit_resources() judges.
void let_cores_be_limited() noexcept;

// Core files are never piped to the host's core_pattern helper: RLIMIT_CORE 1, because 0 does not
// stop a pipe (core(5)), or 0 where it cannot be 1 and there is no pipe; at most 65536 descriptors;
// and what no control group limits. Never more than the calling process has.
Result<void> limit_resources(const cgroup::ProcessLimits& limits);

// Closes every descriptor but 0-2 and `kept`.
Result<void> close_all_but(std::vector<int> kept);

}  // namespace sluice::launcher
