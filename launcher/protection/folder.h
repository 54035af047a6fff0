// What a directory has in it that says something about what runs code.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

inline constexpr std::string_view workspace_ending = ".code-workspace";
inline constexpr std::string_view index_name = "index";
inline constexpr std::string_view shared_index_beginning = "sharedindex.";

struct FolderContent {
  bool is_there = false;   // a directory that no symbolic link leads to, and that could be read
  bool is_closed = false;  // to this id, which owns it: an agent with the same id could open it
  std::vector<std::string> folders;  // ".git" is none of them
  std::vector<std::string> links;    // symbolic ones
  // Of git's, of other systems' and of the names of projects; editors' workspaces and git's indexes
  // by their ending and beginning.
  std::set<std::string, std::less<>> known;

  bool has(std::string_view name) const { return known.contains(name); }
  // Whether git takes the directory for a repository (gitrepository-layout(5)).
  bool is_repository() const {
    return has("HEAD") && (has("commondir") || (has("objects") && has("refs")));
  }
};

FolderContent read_folder(const std::string& path);

}  // namespace sluice::launcher
