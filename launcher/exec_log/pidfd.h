// What a descriptor of a process tells (pidfd_open(2), PIDFD_GET_INFO), without a look at /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "base/fd.h"

namespace sluice::launcher {

// Empty for a thread that is not its process's first.
Fd open_process(pid_t process);

// Of a process that was reaped by whoever its parent is; nothing before that, and on kernels before
// Linux 6.15.
std::optional<std::uint64_t> exit_status_of(int process);

// As the calling process sees them.
struct ProcessNumbers {
  pid_t process = 0;
  pid_t parent = 0;
};
// Of one that lives; nothing on kernels before Linux 6.13.
std::optional<ProcessNumbers> numbers_of(int process);

}  // namespace sluice::launcher
