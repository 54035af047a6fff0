// Answers what a seccomp filter does with a system call, by running its BPF program.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace sluice::netns {

using SeccompProgram = std::vector<sock_filter>;

// The classic BPF that seccomp(2) admits (kernel/seccomp.c, seccomp_check_filter). An error: an
// instruction that is none of it, or an end without a return.
Result<std::uint32_t> run_program(const SeccompProgram& program, const seccomp_data& call);

// What the kernel does when a thread has all of these: the strictest action wins, seccomp(2).
// SECCOMP_RET_ALLOW when there are none.
Result<std::uint32_t> run_programs(const std::vector<SeccompProgram>& programs,
                                   const seccomp_data& call);

// The call is not made, whatever another process says: an errno, a signal, an end. Not so for
// SECCOMP_RET_USER_NOTIF and SECCOMP_RET_TRACE.
bool refuses(std::uint32_t action) noexcept;

}  // namespace sluice::netns
