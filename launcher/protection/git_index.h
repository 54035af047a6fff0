// Reads what git's index says of the work tree (gitformat-index(5)).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

// Of a repository: `extensions.objectFormat` of its configuration.
enum class ObjectFormat : std::uint8_t { sha1, sha256 };

enum class PathsWanted : std::uint8_t { of_repositories, all };

// Paths are relative to the work tree.
struct IndexContent {
  // An entry's path has a component that git never puts there: "", ".", ".." or ".git". git does
  // not look again when it reads an index, so that checkout writes where such a path leads. What
  // cannot be read to its end counts as well.
  bool leads_astray = false;
  // Entries that are repositories of their own (submodules), or all where that is wanted.
  std::vector<std::string> paths;
  // Directories of a sparse index: which repositories lie in them is not said.
  std::vector<std::string> folders;
  // More paths than are read: those that are missing were in an index that an agent made so.
  bool is_cut = false;
  // Half of a split index, and an entry that is a repository has its path in the other half.
  bool is_half = false;
};

IndexContent read_index(std::string_view index, ObjectFormat format,
                        PathsWanted wanted = PathsWanted::of_repositories);

}  // namespace sluice::launcher
