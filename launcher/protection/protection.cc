#include "launcher/protection/protection.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "launcher/paths.h"
#include "launcher/state_folder.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::vector<std::string> user_git_config(const Machine& machine) {
  const std::string named = machine.variable("XDG_CONFIG_HOME");
  const std::string config = named.starts_with('/') ? named : machine.home + "/.config";
  return {machine.home + "/.gitconfig", config + "/git/config"};
}

std::string inside(const Mount& bind, const std::string& path) {
  return absolute(bind.path + path.substr(bind.source.size()));
}

// Whether something else is mounted at `path` or between it and the bind.
bool is_covered(const Plan& plan, const Mount& bind, const std::string& path) {
  return std::any_of(plan.mounts.begin(), plan.mounts.end(), [&](const Mount& other) {
    return &other != &bind && other.path != bind.path && is_at_or_below(other.path, bind.path) &&
           is_at_or_below(path, other.path);
  });
}

bool is_looked_at(const Mount& mount) {
  return mount.kind == Mount::Kind::bind && mount.access == Access::read_write &&
         is_directory(mount.source);
}

bool is_shielded(const ProtectedPath& path) {
  return !path.only_watched && (path.found || path.stand_in != StandIn::none);
}

std::vector<std::string> paths_in(const std::string& workspace,
                                  const std::vector<std::string>& protects) {
  std::vector<std::string> paths;
  paths.reserve(protects.size());
  for (const std::string& path : protects) {
    paths.push_back(absolute(fmt::format("{}/{}", workspace, path)));
  }
  return paths;
}

// A bind of its own opens what is protected, but not what the policy protects.
Result<void> refuse_opening(const Plan& plan, const std::vector<std::string>& protects) {
  for (const Mount& mount : plan.mounts) {
    if (mount.kind != Mount::Kind::bind || mount.access != Access::read_write) continue;
    if (mount.source == plan.workspace) continue;
    for (const std::string& path : protects) {
      const auto real = real_path(path);
      if (!is_at_or_below(mount.source, path) && (!real || !is_at_or_below(mount.source, *real))) {
        continue;
      }
      return fail(Errc::not_permitted,
                  fmt::format("'--bind' opens what the policy protects: {}", in_quotes(path)),
                  "leave the bind out, or ask the operator to change 'sandbox:' of the policy");
    }
  }
  return {};
}

// Stand-ins that cannot be made leave the plan, and so does an ancestor of nothing else.
void drop(Mount& bind, const std::vector<std::string>& impossible) {
  for (const std::string& path : impossible) {
    if (!is_at_or_below(path, bind.source) || path == bind.source) continue;
    const std::string relative = path.substr(bind.source.size() + 1);
    std::erase_if(bind.shields, [&](const Shield& shield) { return shield.path == relative; });
  }
  std::set<std::string> kept;
  for (const Shield& shield : bind.shields) {
    if (shield.access == Access::read_only) kept.insert(shield.path);
  }
  std::erase_if(bind.shields, [&](const Shield& shield) {
    const auto below = kept.lower_bound(shield.path + "/");
    const bool leads_to_one = below != kept.end() && is_at_or_below(*below, shield.path);
    return shield.access == Access::read_write && !leads_to_one;
  });
}

}  // namespace

std::vector<Shield> shields_of(const Sight& sight, const std::string& source) {
  std::map<std::filesystem::path, Shield> shields;
  for (const auto& [path, what] : sight.paths) {
    if (!is_shielded(what)) continue;
    const std::string relative = path.substr(source.size() + 1);
    for (std::size_t slash = relative.find('/'); slash != std::string::npos;
         slash = relative.find('/', slash + 1)) {
      const std::string parent = relative.substr(0, slash);
      shields.try_emplace(parent, Shield{parent, Access::read_write, {}});
    }
    shields.insert_or_assign(relative, Shield{relative, Access::read_only, what.reason});
  }
  std::vector<Shield> ordered;
  ordered.reserve(shields.size());
  for (auto& [path, shield] : shields) ordered.push_back(std::move(shield));
  return ordered;
}

Result<Protection> Protection::find(Plan& plan, const Machine& machine,
                                    const std::vector<std::string>& protects, IsForShow for_show) {
  Protection protection;
  if (auto fine = refuse_opening(plan, paths_in(plan.workspace, protects)); !fine) {
    return Failure(fine.error());
  }
  std::vector<std::string> sources;
  for (const Mount& mount : plan.mounts) {
    if (is_looked_at(mount)) sources.push_back(mount.source);
  }
  if (!for_show && !sources.empty()) {
    auto placeholders = Placeholders::begin(state_directory(machine), sources);
    if (!placeholders) return Failure(placeholders.error());
    protection.placeholders_ = std::make_unique<Placeholders>(std::move(*placeholders));
  }
  for (Mount& bind : plan.mounts) {
    if (!is_looked_at(bind)) continue;
    const bool is_workspace = bind.source == plan.workspace && bind.path == plan.workspace;
    const bool is_project = is_workspace || identity_of(bind.source + "/.git");
    LookOrder order{bind.source, IsProject(is_project), machine.home, user_git_config(machine),
                    paths_in(plan.workspace, protects)};
    Sight sight = look_at(order);
    for (auto& [path, what] : sight.paths) {
      if (is_covered(plan, bind, inside(bind, path))) what.only_watched = true;
    }
    bind.shields = shields_of(sight, bind.source);
    protection.places_.push_back({std::move(order), std::move(sight)});
  }
  return protection;
}

Result<void> Protection::stand_in(Plan& plan) {
  if (!placeholders_) return {};
  std::map<std::string, StandIn> by_path;  // once each, parents before children
  for (const Place& place : places_) {
    for (const std::string& way : place.before.ways) by_path.emplace(way, StandIn::directory);
    for (const auto& [path, what] : place.before.paths) {
      if (!what.found && is_shielded(what)) by_path.emplace(path, what.stand_in);
    }
  }
  std::vector<Wanted> wanted;
  wanted.reserve(by_path.size());
  for (const auto& [path, kind] : by_path) wanted.push_back({path, kind});
  if (auto made = placeholders_->make(wanted); !made) return made;
  for (Mount& bind : plan.mounts) drop(bind, placeholders_->impossible());
  // What is there now no agent of this run has made: it is ours, or of a run that began meanwhile.
  for (Place& place : places_) {
    for (auto& [path, what] : place.before.paths) {
      if (!what.found && is_shielded(what)) what.found = fingerprint_of(path);
    }
  }
  return {};
}

std::vector<std::string> Protection::notices() const {
  std::vector<std::string> lines;
  for (const Place& place : places_) {
    for (const std::string& computed : place.before.computed) {
      lines.push_back(computed + ": what that is was not followed, and is not protected");
    }
    if (place.before.is_whole()) continue;
    lines.push_back(
        fmt::format("not everything in {} was looked at, and what was not is not protected: {}",
                    in_quotes(place.order.source), place.before.unseen));
  }
  return lines;
}

void Protection::tell_changes(const Say& say) const noexcept {
  for (const Place& place : places_) look_again(place.order, place.before, say);
}

}  // namespace sluice::launcher
