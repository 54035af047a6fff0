// Mounts as descriptors: made detached, changed while nobody sees them, then attached
// (mount_setattr(2)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"

namespace sluice::launcher {

using Recursive = YesNo<struct RecursiveTag>;

// A detached copy of the mount at `path` (open_tree(2), OPEN_TREE_CLONE). Not recursive fails with
// EINVAL in a user namespace where `path` has submounts below it: those are locked together.
Result<Fd> clone_tree(const std::string& path, Recursive recursive);
Result<Fd> clone_tree_at(int directory, const std::string& name, Recursive recursive);

// A detached new file system: fsopen(2), one fsconfig(2) a parameter ("key" without a value: a
// flag), fsmount(2) with MOUNT_ATTR_ flags.
struct FileSystem {
  const char* type = "tmpfs";
  std::vector<std::pair<std::string, std::string>> parameters;
  std::uint64_t attributes = 0;
};
Result<Fd> new_file_system(const FileSystem& file_system);

inline constexpr std::uint64_t bytes_per_inode = 4096;
// Of a tmpfs of that size.
std::uint64_t inodes_of(std::uint64_t bytes) noexcept;

// An empty tmpfs, nosuid and nodev, with a cap on bytes and on inodes (one for each 4 KiB).
Result<Fd> new_tmpfs(std::uint64_t bytes, mode_t mode);

// Sets (never clears) MOUNT_ATTR_ flags on a mount.
Result<void> set_attributes(int mount, std::uint64_t attributes, Recursive recursive);

// Attaches a detached mount on what `target` refers to, which may be O_PATH.
Result<void> attach(int mount, int target);
Result<void> attach(int mount, const std::string& target);

}  // namespace sluice::launcher
