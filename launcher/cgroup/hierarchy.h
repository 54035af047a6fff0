// The hierarchies of control groups that the calling process is in, and its own group in each
// (cgroups(7)): pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/plan/host_mounts.h"

namespace sluice::launcher::cgroup {

enum class Version : std::uint8_t { v1, v2 };

struct Hierarchy {
  Version version = Version::v2;
  std::vector<std::string> controllers;  // v1: which it holds; v2 tells in each group
  std::string own;  // directory of the caller's group; "" where no mount shows it
};

// From the mounts and the text of /proc/self/cgroup. A v2 hierarchy that is mounted nowhere is left
// out.
std::vector<Hierarchy> read_hierarchies(const std::vector<HostMount>& mounts,
                                        std::string_view proc_self_cgroup);

}  // namespace sluice::launcher::cgroup
