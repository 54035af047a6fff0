// The directory of an overlay's upper layer where that lies on disk: gone when its run is.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

// STATE/sluice/overlays.
std::string disk_layers_directory(const std::string& state_directory);

// A directory of its own for each run, with mode 0700, locked while the run lives: what a run that
// was killed left is removed by the next one.
class DiskLayer {
 public:
  // With the empty directories `upper` and `work`. Refuses a file system that cannot hold what
  // overlayfs must remember, or has no room.
  static Result<DiskLayer> make(const std::string& state_directory);
  DiskLayer(DiskLayer&& other) noexcept;
  DiskLayer(const DiskLayer&) = delete;
  DiskLayer& operator=(const DiskLayer&) = delete;
  DiskLayer& operator=(DiskLayer&&) = delete;
  ~DiskLayer();

  // Without symbolic links.
  const std::string& path() const noexcept { return path_; }
  // What killed runs left and could not be removed, a sentence each.
  const std::vector<std::string>& notices() const noexcept { return notices_; }
  // Once nothing can write there any more; what fails is tried again by the next run.
  Result<void> remove();

 private:
  DiskLayer(std::string path, Fd lock, std::vector<std::string> notices)
      : path_(std::move(path)), lock_(std::move(lock)), notices_(std::move(notices)) {}

  std::string path_;  // "" once it is removed
  Fd lock_;
  std::vector<std::string> notices_;
};

}  // namespace sluice::launcher
