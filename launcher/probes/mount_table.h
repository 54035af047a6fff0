// The mounts that the calling process sees, and what their flags say.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "launcher/plan/host_mounts.h"

namespace sluice::launcher::probes {

Result<std::vector<HostMount>> read_mount_table();

// Whether a mount has this one of its own flags: "ro", "nosuid".
bool has_option(const HostMount& mount, std::string_view option);

// A single node such as /dev/null, mounted on a file.
bool is_device_file(const HostMount& mount);

}  // namespace sluice::launcher::probes
