// The layer of our own above a root: mount points and files that it lacks, and what it is not to
// show.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/error.h"
#include "launcher/plan/plan.h"

namespace sluice::launcher {

// Where `path` leads inside the tree at `root`, by text: symbolic links are followed as a process
// whose root it is would, never out of it. What is missing is taken as it is spelt. Relative to
// `root`, without "." and "..". ELOOP after 40 links (path_resolution(7)).
Result<std::string> resolve_inside(int root, const std::string& path);

// Filled before it becomes a layer: overlayfs wants its layers left alone. What the root has keeps
// its mode and owner, for the topmost layer's count. Paths of the root are given with a slash first
// or without.
class OwnLayer {
 public:
  // Directories that outlive it: of the layer, of one that lies between it and the root, where
  // there is something to hide, and of the root.
  OwnLayer(int layer, int hiding, int root) : layer_(layer), hiding_(hiding), root_(root) {}

  // New file systems of the kernel's lie there: a symbolic link in their place is not followed.
  Result<void> add_kernel_directory(const char* name);
  // With the directories above it. `shape`: S_IFDIR, or else a file.
  Result<void> add_mount_point(const std::string& path, mode_t shape);
  // In the place of the root's own, whatever that is.
  Result<void> add_own_file(const OwnFile& file);
  // `path` has no symbolic links in it. A directory stays, empty; what is no directory is gone. By
  // whiteouts alone: an opaque directory needs an attribute that not every tmpfs can hold.
  Result<void> hide(const std::string& path, const struct stat& status);

 private:
  Result<void> add_directories(const std::string& path);
  Result<void> add_file(const std::string& path, const std::string& text);
  Result<void> hide_beneath(const std::string& name);

  int layer_;
  int hiding_;
  int root_;
};

}  // namespace sluice::launcher
