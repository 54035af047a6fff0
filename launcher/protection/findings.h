// Collects what a look at a directory finds: each path once, none that a symbolic link leads to.
#pragma once

#include <string>
#include <string_view>

#include "launcher/protection/folder.h"
#include "launcher/protection/sight.h"

namespace sluice::launcher {

class Findings {
 public:
  Findings(std::string source, Sight& sight) : source_(std::move(source)), sight_(sight) {}

  // Strictly below the source.
  bool is_ours(const std::string& path) const;

  // To be kept as it is. No symbolic link leads to `path`; it may itself be one.
  void add(const std::string& path, const ProtectedName& name);
  // However links lead to it: every one on the way, for whoever replaces it chooses the end; and
  // the end.
  void add_all(const std::string& path, const ProtectedName& name);
  // The same; the directories above it that are missing stand in as well.
  void add_with_ways(const std::string& path, const ProtectedName& name);
  // Only named when it appears or changes.
  void watch(const std::string& path, std::string_view reason);

  // False: it is known, or there are too many.
  bool add_repository(const std::string& git, std::string_view reason);
  bool is_repository(const std::string& git) const { return sight_.repositories.contains(git); }

  void add_computed(std::string line) { sight_.computed.push_back(std::move(line)); }
  // The first reason stays.
  void miss(std::string why);

  FolderContent read(const std::string& folder);

 private:
  void insert(const std::string& path, const ProtectedName& name, bool only_watched);

  std::string source_;
  Sight& sight_;
};

// folder/name
std::string below(const std::string& folder, std::string_view name);

}  // namespace sluice::launcher
