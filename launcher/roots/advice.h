// Which --tmpfs and --seed allow a command under a read-only root what it wrote to an overlay:
// pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "launcher/roots/written.h"

namespace sluice::launcher {

// What the root has in a directory, as far as the agent may see it.
struct Existing {
  std::uint64_t entries = 0;  // without the directory itself
  std::uint64_t bytes = 0;    // of memory that a copy takes
  bool is_more = false;       // than was counted: it is too much to copy
};

// Answers for a directory of the root.
using LookAtRoot = std::function<Existing(const std::string& directory)>;

struct Allowance {
  enum class Kind : std::uint8_t { tmpfs, seed };
  Kind kind = Kind::tmpfs;
  std::string path;
  std::uint64_t bytes = 0;
  bool hides = false;  // a tmpfs over what the root has: that is too much to copy
};

struct NotAllowed {
  std::string path;
  std::string why;  // ends "no option allows 'PATH': …"
};

struct Advice {
  std::vector<Written> written;  // the largest first, at most most_places_told
  Untold untold;                 // the others, for which nothing is advised
  std::string unseen;            // why not everything was looked at; "" when it was
  std::vector<Allowance> allow;
  std::vector<NotAllowed> cannot;
  bool has_other_owners = false;
};

// What sluice itself puts in every agent's /etc where the root is read-only.
const std::vector<std::string>& own_files_of_a_read_only_root();

// A directory that is empty in the root, or that it lacks, becomes a tmpfs; any other a seed, or a
// tmpfs where it is too much to copy and nothing of it was changed. Directories beside each other
// are taken together while there are many and the one above them is small enough to copy; of what
// is left then, the largest are advised on. A size is twice what is known to be needed, rounded up
// to a power of two.
Advice advise(WrittenTree tree, const Root& root, const LookAtRoot& look);

}  // namespace sluice::launcher
