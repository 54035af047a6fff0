// Looks at a directory that an agent will write to, and says what in it runs code outside later.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong.h"
#include "launcher/protection/names.h"

namespace sluice::launcher {

// Which file lies at a path, and since when as it is: nobody can set back a ctime.
struct Identity {
  dev_t device = 0;
  ino_t inode = 0;
  std::int64_t changed = 0;  // nanoseconds; 0 for a directory, whose entries come and go

  friend bool operator==(const Identity&, const Identity&) = default;
};

// Of what lies at a path, symbolic links not followed; nothing where there is nothing.
std::optional<Identity> identity_of(const std::string& path);

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
