// Under which other names the host's mounts show the same file: pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct HostMount {
  std::string device;        // "major:minor"
  std::string root;          // what of the file system is mounted
  std::string point;         // where
  std::string type = {};     // of the file system
  std::string options = {};  // the file system's, with commas between them
  std::string flags = {};    // this mount's own, with commas between them
};

// In the order of the table. Octal escapes are undone; lines that are none are skipped.
std::vector<HostMount> parse_mountinfo(std::string_view table);

// Every other path that leads, or would lead if it existed, to what lies at `path`: through another
// mount of the same file system. A mount of something below `path` counts as a whole.
std::vector<std::string> other_paths(const std::vector<HostMount>& mounts, const std::string& path);

}  // namespace sluice::launcher
