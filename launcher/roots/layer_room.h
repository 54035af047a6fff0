// Whether an overlay's upper layer on disk is within its cap, and its file system has room: what a
// tmpfs of that size would enforce, and what is left for everybody else.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace sluice::launcher {

// Of the layer's file system there must be left, for its owner, at least so much; an agent that
// takes more of it is ended.
inline constexpr std::uint64_t least_free_bytes = std::uint64_t{256} * 1024 * 1024;
inline constexpr std::uint64_t least_free_inodes = 1024;  // where it counts them (btrfs does not)

inline constexpr int deepest_watched = 200;  // directories: one more ends the agent

struct LayerUse {
  std::uint64_t bytes = 0;    // of the file system's blocks; a file with several names counts once
  std::uint64_t entries = 0;  // names, as a tmpfs counts them: so an agent cannot make a look long
  bool is_whole = true;       // else there are directories deeper than deepest_watched, or others
                              // that could not be looked into
};

struct FileSystemRoom {
  std::uint64_t bytes = 0;
  std::uint64_t inodes = 0;
};

// Looks until more than `bytes`, or more entries than a tmpfs of that size has, are found. Follows
// no symbolic link; what goes meanwhile is not counted. What nobody has a name for any more is not
// found.
Result<LayerUse> measure_layer(int upper, std::uint64_t bytes);
// All inodes there are where the file system does not count them.
Result<FileSystemRoom> room_of(int directory);

// "" while the agent may go on; else the sentence that ends it. Pure.
std::string over_cap(const LayerUse& use, std::uint64_t bytes);
std::string without_room(const FileSystemRoom& room);

// Before a run: an error for a file system on which it would be ended at once. `path` is for the
// error.
Result<void> expect_room(int directory, const std::string& path);

}  // namespace sluice::launcher
