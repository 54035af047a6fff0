// Keeps what an agent wrote to its overlay, for a person to look at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/roots/sub_ids.h"

namespace sluice::launcher {

// A directory of the caller's that holds nothing; made with mode 0700 where there is none.
Result<Fd> open_for_changes(const std::string& path);

struct KeptChanges {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t deletions = 0;
};

// Copies the upper layer `changes` (overlayfs) to files/ in `directory`, and writes changes.txt: a
// line for each thing that was written, deleted or left out, names printable. The copies belong to
// the caller and are neither setuid nor setgid; sockets, FIFOs and devices are left out. No
// symbolic link is followed. Nothing may still write to `changes`. `ids`: where the agent had the
// caller's other ids, whose files he could not read.
Result<KeptChanges> keep_changes(int changes, int directory,
                                 const std::optional<SubIds>& ids = std::nullopt);

}  // namespace sluice::launcher
