// What every system call filter of ours has in common: its beginning, its export, its load.
#pragma once

#include <linux/filter.h>

#include <initializer_list>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

using FilterProgram = std::vector<sock_filter>;

// Exports libseccomp's program behind a prologue that answers ENOSYS to foreign architectures
// (int 0x80), to x32's numbers, to numbers newer than libseccomp knows, and to `absent`, so that
// libc's fallbacks work. `context` is a scmp_filter_ctx.
Result<FilterProgram> export_filter(void* context, std::initializer_list<const char*> absent = {});

// seccomp(2), SECCOMP_SET_MODE_FILTER, on the calling thread, which must have no_new_privs. Beneath
// several filters the strictest answer counts.
Result<void> load_filter(const FilterProgram& program);

// The same; answers the descriptor on which the calls that are held back can be answered.
Result<Fd> load_filter_with_listener(const FilterProgram& program);

// SECCOMP_RET_… of the program for a system call of this architecture, as the kernel would run it.
std::uint32_t run_filter(const FilterProgram& program, int number,
                         std::initializer_list<std::uint64_t> arguments = {});

}  // namespace sluice::launcher
