// Reads the directory that overlayfs writes to: what an agent made, changed and deleted.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

inline constexpr std::size_t deepest_change = 200;  // directories; an agent chose the depth

// Follows no symbolic link.
Result<Fd> open_directory_of(int at, const std::string& name);

// Without "." and "..", sorted.
Result<std::vector<std::string>> entries_of(int directory);

// One by one, in no order, and none but what `visit` is handed is in memory, for an agent made
// them; ends when it answers false. `at` is `directory`, for the *at calls (openat(2)).
Result<void> visit_entries(
    Fd directory, const std::function<Result<bool>(int at, const std::string& name)>& visit);

// overlayfs marks a directory that replaces the one below it (userxattr), or where root of
// the machine mounted it by an attribute that only root reads.
bool is_opaque(int directory);

// What was deleted of a lower layer is a device 0/0 (Documentation/filesystems/overlayfs.rst).
bool is_whiteout(const struct stat& status);

// An ordinary user owns what his agent wrote, and may not read a file whose bits forbid it. Where
// it stays unreadable, opening it says so.
void make_readable(int at, const std::string& name, const struct stat& status);

}  // namespace sluice::launcher
