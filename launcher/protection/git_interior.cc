#include "launcher/protection/git_interior.h"

#include <fmt/core.h>

#include <deque>

namespace sluice::launcher {

GitInterior look_inside(const std::string& git, Findings& findings, std::size_t& left) {
  GitInterior interior;
  std::deque<std::string> waiting{git};
  for (; !waiting.empty(); waiting.pop_front()) {
    if (left == 0) {
      findings.miss(fmt::format("its repositories have more than {} directories in them",
                                most_git_directories));
      break;
    }
    --left;
    const std::string& folder = waiting.front();
    const FolderContent content = findings.read(folder);
    const bool is_top = folder == git;
    if (!is_top && content.is_repository()) {
      interior.repositories.push_back(folder);
      continue;
    }
    if (content.has(".git")) interior.holders.push_back(folder);
    for (const std::string& name : content.links) interior.links.push_back(below(folder, name));
    for (const std::string& name : content.folders) waiting.push_back(below(folder, name));
    if (!is_top) continue;
    if (content.has(index_name)) interior.indexes.push_back(below(git, index_name));
    for (const std::string& name : content.known) {
      if (name.starts_with(shared_index_beginning)) interior.indexes.push_back(below(git, name));
    }
  }
  return interior;
}

}  // namespace sluice::launcher
