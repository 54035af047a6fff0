// Finds the git configuration of a user and of a repository, with its submodules and worktrees.
#pragma once

#include <string>
#include <vector>

#include "allowlists/discover/git_remotes.h"
#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {

// Reads both into `remotes`; the user's own files first.
void read_git_user(Scan& scan, GitRemotes& remotes);
// `folder`: "" or a submodule's path with '/' behind it.
void read_git_project(Scan& scan, GitRemotes& remotes, const std::string& folder);

// Where .gitmodules puts its submodules: paths below the project's directory with '/' behind them,
// submodules of submodules included.
std::vector<std::string> submodule_folders(Scan& scan);

}  // namespace sluice::allowlists::discover
