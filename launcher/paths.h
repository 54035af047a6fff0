// Questions about absolute paths as text, and what the file system says they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::launcher {

// True for `path` itself and everything beneath it. Both absolute, without "." or "..".
bool is_at_or_below(std::string_view path, std::string_view ancestor) noexcept;

// Absolute (against the current directory), "." and ".." and double slashes removed by text alone.
std::string absolute(std::string_view path);

// realpath(3), with an error that names the path.
Result<std::string> real_path(const std::string& path);

// Every directory entry that opening `path` goes through: the spelling itself, each symbolic link
// on the way and the end. Whoever can replace one of them chooses what is opened next time. Entries
// that do not exist are part of it; at most 40 links are followed (as path_resolution(7)).
std::vector<std::string> touched_paths(std::string_view path);

}  // namespace sluice::launcher
