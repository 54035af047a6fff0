// Looks at what git obeys: repositories, those in them, and those that their indexes name.
#pragma once

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "launcher/protection/findings.h"
#include "launcher/protection/git_interior.h"
#include "launcher/protection/git_pointers.h"

namespace sluice::launcher {

class GitLook {
 public:
  GitLook(const LookOrder& order, Findings& findings) : order_(order), findings_(findings) {}

  // The source may lie in the work tree of a repository whose configuration names files in it.
  void look_above();
  // folder/.git is there: a repository, or a file or link that leads to one.
  void look_at_git_of(const std::string& folder);
  // A directory that git takes for a repository.
  void look_at_repository(const std::string& git, const std::string& work_tree);

  // Directories that have to be walked besides; empty afterwards.
  std::vector<std::string> take_further() { return std::exchange(further_, {}); }

 private:
  struct Found {
    std::string git;
    std::string work_tree;
  };

  void wait(const std::string& git, const std::string& work_tree);
  void work();
  void add(const Found& found);
  void add_interior(const std::string& git);
  void add_indexes(const std::string& git, const std::string& work_tree);
  void add_index(const std::string& git, const std::string& file, PathsWanted wanted);
  void add_submodule(const std::string& path);
  void add_config(const std::string& file, const std::string& work_tree, int depth);
  void add_pointer(const GitPointer& pointer, const std::string& work_tree, int depth);
  void add_linked_worktrees(const std::string& folder);
  void add_modules(const std::string& folder);
  bool may_read();

  const LookOrder& order_;
  Findings& findings_;
  std::deque<Found> repositories_;
  std::deque<std::string> modules_;  // directories of a ".git/modules"
  std::set<std::string> known_modules_;
  std::map<std::string, std::vector<std::string>> indexes_;  // by git directory
  std::set<std::pair<std::string, std::string>> known_indexes_;
  std::vector<std::string> further_;
  std::set<std::pair<std::string, std::string>> known_configs_;  // and the work tree they are for
  std::size_t left_ = most_git_directories;
  std::size_t submodules_left_ = most_submodules;
};

}  // namespace sluice::launcher
