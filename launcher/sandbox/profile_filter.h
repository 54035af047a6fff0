// Compiles a person's system call profile, which lies on top of sluice's own list.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/plan/seccomp_profile.h"
#include "launcher/sandbox/filter_program.h"

namespace sluice::launcher {

struct ProfileFilter {
  FilterProgram program;
  std::vector<std::string> unknown;  // names that libseccomp does not know, each once
};

// Names of other architectures' calls are passed over. Calls that sluice answers with ENOSYS itself
// (clone3, openat2) and numbers newer than libseccomp knows answer ENOSYS whatever the profile
// says, so that libc falls back. A profile that refuses what starts a command (execve, and write
// and exit_group to say why it did not start) is an error.
Result<ProfileFilter> compile_profile(const SeccompProfile& profile);

// Reads the profile at `path` (at most 1 MiB) and compiles it for this machine.
Result<ProfileFilter> read_profile(const std::string& path);

// What a person is told about names that are not known; "" for none. At most five are named.
std::string unknown_names_notice(const std::vector<std::string>& names);

}  // namespace sluice::launcher
