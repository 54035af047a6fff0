// What an agent wrote to an overlay, by the directories of the root that it wrote in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/roots/root.h"

namespace sluice::launcher {

// What was made, changed and deleted in one directory of a root, and in directories below it that
// the root does not have.
struct Written {
  std::string directory;    // "/" for the top
  bool is_missing = false;  // it is itself made by the agent, in '/'
  bool is_all_new = true;   // nothing of the root's was changed, replaced or deleted there
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  // that their files hold; holes are none
  std::uint64_t deletions = 0;
  std::uint64_t entries = 0;  // files, directories and links: an inode each
};

// Of places that are not told one by one: an agent can make as many as it likes.
struct Untold {
  std::uint64_t places = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t deletions = 0;
};

struct WrittenTree {
  std::vector<Written> places;     // sorted; none lies in another but in '/'
  std::vector<std::string> files;  // of those that were asked for, what was written or deleted
  bool has_other_owners = false;   // something new belongs to another id than the agent's own
  Untold untold;                   // the smaller of what the agent made beside /usr and /etc
  std::string unseen;              // why not everything was looked at; "" when it was
};

inline constexpr std::size_t most_places_told = 100;
// Files, directories and links that are looked at: more than the memory of an overlay holds by
// default (2 GiB, an inode each 4 KiB).
inline constexpr std::size_t most_changes = 1'000'000;

// `changes` is the upper layer, to which nothing writes any more; `root` is what lies below it.
// `files` are paths of the sandbox. No symbolic link is followed. Of more than `most` entries, and
// of what lies deeper than deepest_change directories, only `unseen` is told.
Result<WrittenTree> look_at_written(int changes, const Root& root,
                                    const std::vector<std::string>& files,
                                    std::size_t most = most_changes);

// Leaves the most_places_told largest, those first; counts the others.
void keep_largest(std::vector<Written>& places, Untold& untold);

// Of two directories the one in the other is counted with that one.
std::vector<Written> without_nested(std::vector<Written> places);

}  // namespace sluice::launcher
