// What extended attributes this kernel's tmpfs can hold, found out by trying.
#pragma once

#include <string>

namespace sluice::launcher {

// Whether the calling process can give a file in memory the attribute `name`: "user." ones from
// Linux 6.6 on, "trusted." ones as root of the machine and not of a user namespace (xattr(7)).
bool tmpfs_can_hold(const std::string& name);

}  // namespace sluice::launcher
