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

struct WrittenTree {
  std::vector<Written> places;     // sorted; none lies in another but in '/'
  std::vector<std::string> files;  // of those that were asked for, what was written or deleted
  bool has_other_owners = false;   // something new belongs to another id than the agent's own
};

// `changes` is the upper layer, to which nothing writes any more; `root` is what lies below it.
// `files` are paths of the sandbox. No symbolic link is followed. Deeper than deepest_change
// directories nothing is counted.
Result<WrittenTree> look_at_written(int changes, const Root& root,
                                    const std::vector<std::string>& files);

// Of two directories the one in the other is counted with that one.
std::vector<Written> without_nested(std::vector<Written> places);

}  // namespace sluice::launcher
