// Tells whether what lies at a path is still what it was.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace sluice::launcher {

// Nobody can set back a ctime, whatever name a file was written by.
struct Identity {
  dev_t device = 0;
  ino_t inode = 0;
  std::int64_t changed = 0;  // ctime, nanoseconds; of a directory: see fingerprint_of()

  friend bool operator==(const Identity&, const Identity&) = default;
};

// Of what lies at a path, symbolic links not followed; nothing where there is nothing.
std::optional<Identity> identity_of(const std::string& path);
// The same; a directory counts as changed when something in it did: the latest of its first 2000.
std::optional<Identity> fingerprint_of(const std::string& path);

}  // namespace sluice::launcher
