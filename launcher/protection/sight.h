// Looks at a directory that an agent will write to, and says what in it runs code outside later.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong.h"
#include "launcher/protection/identity.h"
#include "launcher/protection/names.h"

namespace sluice::launcher {

struct ProtectedPath {
  std::string_view reason;
  StandIn stand_in = StandIn::none;  // wanted where nothing is found
  std::optional<Identity> found;
  bool only_watched = false;
};

struct Sight {
  std::map<std::string, ProtectedPath> paths;  // absolute; no symbolic link leads to any of them
  // Directories by which tools take the one they lie in for a repository, and why that matters.
  std::map<std::string, std::string_view, std::less<>> repositories;
  std::set<std::string> ways;  // directories that are missing above a stand-in
  // What a repository's configuration computes when it is run, and what it is therefore not known.
  std::vector<std::string> computed;
  std::string unseen;  // why not everything was looked at; "" when it was

  bool is_whole() const { return unseen.empty(); }
};

using IsProject = YesNo<struct IsProjectTag>;

struct LookOrder {
  std::string source;  // a directory; no symbolic link leads to it
  IsProject is_project = IsProject::no;
  std::string home;                     // "~/" in git's configuration
  std::vector<std::string> git_config;  // of the user, for core.hooksPath
  std::vector<std::string> protects;    // absolute: what the policy adds
};

// Breadth first, so that what lies deepest is missed first when there is more than is looked at.
inline constexpr std::size_t most_directories = 20'000;
inline constexpr std::size_t most_git_directories = 50'000;  // in those of repositories
inline constexpr std::size_t most_repositories = 1'000;
inline constexpr std::size_t most_submodules = 50'000;  // that indexes name
inline constexpr std::size_t most_links = 50'000;       // of work trees

Sight look_at(const LookOrder& order);
// The same; what it throws leaves in `sight` what was found until then.
void look_at(const LookOrder& order, Sight& sight);

}  // namespace sluice::launcher
