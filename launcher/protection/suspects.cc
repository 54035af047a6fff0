#include "launcher/protection/suspects.h"

#include <array>
#include <filesystem>

#include "base/io.h"
#include "launcher/protection/git_index.h"

namespace sluice::launcher {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_entries = 50'000;
constexpr std::size_t largest_index = std::size_t{256} * 1024 * 1024;
constexpr std::string_view elsewhere = "a symbolic link: git may write to where it leads";
constexpr std::string_view astray = "an index that makes git checkout write where git never does";

bool is_looked_into(const fs::path& folder) {
  // Repositories of their own, what is read-only, and what is not followed.
  constexpr std::array<std::string_view, 4> others{"objects", "modules", "worktrees", "hooks"};
  for (const std::string_view other : others) {
    if (folder == other) return false;
  }
  return true;
}

void add_index(const fs::path& file, std::vector<Suspect>& suspects) {
  const auto text = read_file(file.string(), largest_index);
  if (text && !leads_astray(*text)) return;
  suspects.push_back({file.string(), astray});
}

}  // namespace

std::vector<Suspect> suspects_in(const std::string& git) {
  std::vector<Suspect> suspects;
  std::error_code error;
  std::size_t seen = 0;
  for (auto at = fs::recursive_directory_iterator(git, error);
       !error && at != fs::recursive_directory_iterator() && seen < most_entries;
       at.increment(error), ++seen) {
    const fs::path name = at->path().filename();
    std::error_code ignored;
    const fs::file_type type = at->symlink_status(ignored).type();
    if (type == fs::file_type::symlink) suspects.push_back({at->path().string(), elsewhere});
    if (type == fs::file_type::directory && at.depth() == 0 && !is_looked_into(name)) {
      at.disable_recursion_pending();
    }
    const bool is_index = name == "index" || name.string().starts_with("sharedindex.");
    if (type == fs::file_type::regular && at.depth() == 0 && is_index) {
      add_index(at->path(), suspects);
    }
  }
  return suspects;
}

}  // namespace sluice::launcher
