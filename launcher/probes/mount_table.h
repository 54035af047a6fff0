// The mounts that the calling process sees, with their flags.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::launcher::probes {

// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct MountLine {
  std::string root;     // what of the file system is mounted
  std::string point;    // where; escapes of spaces as they stand there
  std::string options;  // of this mount, between commas
  std::string type;     // of the file system

  bool has(std::string_view option) const;
};

std::vector<MountLine> parse_mount_table(std::string_view text);
Result<std::vector<MountLine>> read_mount_table();

// A single node such as /dev/null, mounted on a file.
bool is_device_file(const MountLine& mount);

}  // namespace sluice::launcher::probes
