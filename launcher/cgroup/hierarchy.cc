#include "launcher/cgroup/hierarchy.h"

#include <algorithm>

#include "launcher/paths.h"

namespace sluice::launcher::cgroup {
namespace {

// The next piece of `text` up to `separator`, which is taken out of it.
std::string_view take(std::string_view& text, char separator) {
  const std::string_view piece = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(piece.size() + 1, text.size()));
  return piece;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> pieces;
  while (!text.empty()) pieces.emplace_back(take(text, ','));
  return pieces;
}

bool shows(const HostMount& mount, const Hierarchy& hierarchy) {
  if (hierarchy.version == Version::v2) return mount.type == "cgroup2";
  if (mount.type != "cgroup") return false;
  const auto options = split(mount.options);
  return std::all_of(hierarchy.controllers.begin(), hierarchy.controllers.end(),
                     [&](const std::string& controller) {
                       return std::find(options.begin(), options.end(), controller) !=
                              options.end();
                     });
}

}  // namespace

std::vector<Hierarchy> read_hierarchies(const std::vector<HostMount>& mounts,
                                        std::string_view proc_self_cgroup) {
  std::vector<Hierarchy> hierarchies;
  while (!proc_self_cgroup.empty()) {
    std::string_view line = take(proc_self_cgroup, '\n');
    take(line, ':');
    const std::string_view names = take(line, ':');
    const std::string group(line);
    Hierarchy hierarchy;
    hierarchy.version = names.empty() ? Version::v2 : Version::v1;
    hierarchy.controllers = split(names);
    bool is_mounted = false;
    for (const HostMount& mount : mounts) {
      if (!shows(mount, hierarchy)) continue;
      is_mounted = true;
      // "/.." is a group above the cgroup namespace's root (cgroup_namespaces(7)).
      if (!hierarchy.own.empty() || group.starts_with("/..") || mount.root.starts_with("/..") ||
          !is_at_or_below(group, mount.root)) {
        continue;
      }
      hierarchy.own =
          absolute(mount.point + "/" + group.substr(mount.root == "/" ? 0 : mount.root.size()));
    }
    if (is_mounted) hierarchies.push_back(std::move(hierarchy));
  }
  return hierarchies;
}

}  // namespace sluice::launcher::cgroup
