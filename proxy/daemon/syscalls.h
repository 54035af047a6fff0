// The system calls that are left to an enclosed sluiced (seccomp(2)).
#pragma once

#include "base/error.h"

namespace sluice::proxy {

// Loads the filter for this thread and all that it starts. Needs no_new_privs. What is not on the
// list answers EPERM, opening a file EACCES; exec, ptrace and reading another process's memory end
// the process.
Result<void> restrict_syscalls();

}  // namespace sluice::proxy
