#include "launcher/plan/masks.h"

#include <algorithm>

#include "launcher/paths.h"
#include "launcher/plan/secrets.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

// The mount that decides what lies at `path`: the last one at or above it.
const Mount* deciding_mount(const std::vector<Mount>& mounts, const std::string& path) {
  const Mount* deciding = nullptr;
  for (const Mount& mount : mounts) {
    if (is_at_or_below(path, mount.path)) deciding = &mount;
  }
  return deciding;
}

bool is_always_new(const std::string& path) {
  return is_at_or_below(path, "/proc") || is_at_or_below(path, "/sys") ||
         is_at_or_below(path, "/dev");
}

class Finder {
 public:
  Finder(const std::vector<Mount>& mounts, const std::vector<HostMount>& host)
      : mounts_(mounts), host_(host) {}

  // Wherever the agent would meet what the host has at `path`, also by another mount of the same
  // file system (a bind of /home, a btrfs top level).
  void hide(const std::string& path) {
    hide_name(path);
    for (const std::string& other : other_paths(host_, path)) {
      // What was bound by name was asked for: a cover above it would hide it as well.
      const bool covers_a_bind =
          std::any_of(mounts_.begin(), mounts_.end(), [&](const Mount& mount) {
            return mount.kind == Mount::Kind::bind && is_at_or_below(mount.path, other);
          });
      if (!covers_a_bind) hide_name(other);
    }
  }

  void hide_inside(const std::string& path) { masks_.push_back(path); }

  std::vector<std::string> take() {
    std::sort(masks_.begin(), masks_.end());
    masks_.erase(std::unique(masks_.begin(), masks_.end()), masks_.end());
    return std::move(masks_);
  }

 private:
  void hide_name(const std::string& path) {
    if (deciding_mount(mounts_, path) == nullptr && !is_always_new(path)) masks_.push_back(path);
    for (const Mount& mount : mounts_) {
      if (mount.kind != Mount::Kind::bind || !is_at_or_below(path, mount.source)) continue;
      const std::string shown =
          absolute(mount.path + "/" + path.substr(mount.source == "/" ? 0 : mount.source.size()));
      // What was bound by its own name was asked for.
      if (path != mount.source && deciding_mount(mounts_, shown) == &mount) masks_.push_back(shown);
    }
  }

  const std::vector<Mount>& mounts_;
  const std::vector<HostMount>& host_;
  std::vector<std::string> masks_;
};

// Files and directories, without the sockets.
std::vector<std::string> paths_to_hide(const RunRequest& request, const Machine& machine) {
  std::vector<std::string> paths = own_directories();
  const auto add = [&](const std::vector<std::string>& more) {
    paths.insert(paths.end(), more.begin(), more.end());
  };
  add(default_secrets(machine));
  add({machine.runtime_directory, state_directory(machine) + "/sluice"});
  add(request.env_files.paths);
  add(request.masks);
  return paths;
}

}  // namespace

std::vector<std::string> own_directories() {
  return {"/etc/sluice", "/var/lib/sluice", "/var/log/sluice"};
}

std::vector<std::string> default_secrets(const Machine& machine) {
  std::vector<std::string> paths = secrets_below(machine.home);
  if (!machine.known_home.empty()) {
    for (std::string& path : secrets_below(machine.known_home)) paths.push_back(std::move(path));
  }
  paths.insert(paths.end(), machine.linked_secrets.begin(), machine.linked_secrets.end());
  return paths;
}

std::vector<std::string> hidden_paths(const RunRequest& request, const Machine& machine) {
  std::vector<std::string> paths = paths_to_hide(request, machine);
  const std::size_t named = paths.size();
  for (std::size_t i = 0; i < named; ++i) {
    for (std::string& other : other_paths(machine.mounts, paths[i]))
      paths.push_back(std::move(other));
  }
  return paths;
}

std::vector<std::string> find_masks(const RunRequest& request, const Machine& machine,
                                    const std::vector<Mount>& mounts) {
  Finder finder(mounts, machine.mounts);
  for (const std::string& path : paths_to_hide(request, machine)) finder.hide(path);
  for (const std::string& socket : machine.sockets) finder.hide(socket);
  for (const HostMount& mount : machine.mounts) {
    // An agent's own limits are written there, whether or not it may.
    if (mount.type.starts_with("cgroup")) finder.hide(mount.point);
  }
  for (const std::string& mask : request.masks) finder.hide_inside(mask);
  return finder.take();
}

}  // namespace sluice::launcher
