// Reads the seccomp filters of a thread from the kernel.
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/error.h"
#include "netns/attach/seccomp_program.h"

namespace sluice::netns {

// Stops the thread for as long as it takes (PTRACE_SEIZE), reads (PTRACE_SECCOMP_GET_FILTER) and
// lets it go on. Needs CAP_SYS_ADMIN in the first user namespace and a kernel with
// CONFIG_CHECKPOINT_RESTORE; refused when the thread is traced already, or does not stop within ten
// seconds: a machine that is overloaded may let it wait for one or two.
Result<std::vector<SeccompProgram>> read_seccomp_filters(pid_t thread);

}  // namespace sluice::netns
