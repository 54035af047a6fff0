// Looks at a directory that an agent will write to, and says what in it runs code outside later.
#pragma once

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
  std::set<std::string> repositories;          // git directories
  bool is_whole = true;                        // else a bound was hit, or a directory was closed
};

using IsProject = YesNo<struct IsProjectTag>;

struct LookOrder {
  std::string source;  // a directory; no symbolic link leads to it
  IsProject is_project = IsProject::no;
  std::string home;                     // "~/" in git's configuration
  std::vector<std::string> git_config;  // of the user, for core.hooksPath
};

// Breadth first, so that what lies deepest is missed first when there is more than is looked at.
inline constexpr std::size_t most_directories = 20'000;
inline constexpr std::size_t most_repositories = 1'000;
inline constexpr int deepest_directory = 12;

Sight look_at(const LookOrder& order);

}  // namespace sluice::launcher
