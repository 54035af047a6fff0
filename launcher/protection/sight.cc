#include "launcher/protection/sight.h"

#include <sys/stat.h>

#include <deque>
#include <filesystem>

#include "base/io.h"
#include "launcher/paths.h"
#include "launcher/protection/folder.h"
#include "launcher/protection/git_pointers.h"
#include "launcher/protection/suspects.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_config = std::size_t{1024} * 1024;
constexpr std::size_t largest_pointer = 8192;
constexpr int deepest_include = 5;
constexpr std::string_view packages = "/node_modules/";  // full of other people's settings
constexpr std::string_view included = "is obeyed as the configuration that includes it is";
constexpr std::string_view named_by_config = "git runs it: its configuration names it";
constexpr std::string_view new_modules = "git takes a repository in it for the submodule's";
constexpr std::string_view editor_workspace = "settings and tasks that the editor runs";
constexpr std::string_view git_file = "says which repository this is: git obeys its hooks";

struct Folder {
  std::string path;
  int depth = 0;
};

bool is_folder(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

class Looker {
 public:
  explicit Looker(const LookOrder& order) : order_(order) {
    for (const std::string& file : order.git_config) add_user_hooks(file);
  }

  Sight run() {
    add_config_from_above();
    waiting_.push_back({order_.source, 0});
    for (std::size_t seen = 0; !waiting_.empty(); ++seen) {
      if (seen == most_directories) {
        sight_.is_whole = false;
        break;
      }
      const Folder folder = std::move(waiting_.front());
      waiting_.pop_front();
      visit(folder);
    }
    return std::move(sight_);
  }

 private:
  FolderContent content_of(const std::string& path) {
    FolderContent content = read_folder(path);
    sight_.is_whole = sight_.is_whole && !content.is_closed;
    return content;
  }

  void visit(const Folder& folder) {
    const auto content = content_of(folder.path);
    if (!content.is_there) return;
    const bool has_git = content.has(".git");
    if (has_git) add_git_of(folder.path);
    const bool has_objects = content.has("objects") && content.has("refs");
    if (content.has("HEAD") && (content.has("commondir") || has_objects)) {
      add_repository(folder.path, folder.path);
    }
    const bool is_top = folder.path == order_.source;
    const bool is_project = has_git || (is_top && order_.is_project);
    if (is_project) add_project(folder.path, content);
    if (!is_project && folder.path.find(packages) == std::string::npos) {
      watch_names(folder.path, content);
    }
    if (folder.depth == deepest_directory) {
      sight_.is_whole = sight_.is_whole && content.folders.empty();
      return;
    }
    for (const std::string& name : content.folders) {
      waiting_.push_back({folder.path + "/" + name, folder.depth + 1});
    }
  }

  // In any other directory they are only named when they appear or change: as mounts they would
  // keep every directory above them from being moved.
  void watch_names(const std::string& folder, const FolderContent& content) {
    for (const ProtectedName& name : names_of_project()) {
      if (content.has(name.name)) insert(folder + "/" + std::string(name.name), name, true);
    }
  }

  void add_project(const std::string& folder, const FolderContent& content) {
    const bool stands_in = folder == order_.source;
    for (const ProtectedName& name : names_of_project()) {
      if (!content.has(name.name) && !stands_in) continue;
      add(folder + "/" + std::string(name.name), name);
    }
    for (const std::string& name : content.known) {
      if (!name.ends_with(workspace_ending)) continue;
      add(folder + "/" + name, {"", StandIn::none, editor_workspace});
    }
    for (const std::string& hooks : user_hooks_) {
      add_all(folder + "/" + hooks, {"", StandIn::directory, named_by_config});
    }
  }

  // The source may lie in the work tree of a repository whose configuration names files in it.
  void add_config_from_above() {
    std::filesystem::path folder(order_.source);
    while (folder.has_relative_path()) {
      folder = folder.parent_path();
      const std::string git = (folder / ".git").string();
      if (!identity_of(git)) continue;
      const std::string target =
          is_folder(git) ? git : read_pointer(git, "gitdir:", folder.string());
      const std::string common = read_pointer(target + "/commondir", "", target);
      add_config((common.empty() ? target : common) + "/config", folder.string(), 0);
      return;
    }
  }

  // folder/.git is there: a repository, or a file or link that leads to one.
  void add_git_of(const std::string& folder) {
    const std::string git = folder + "/.git";
    struct stat status {};
    if (::lstat(git.c_str(), &status) != 0) return;
    if (S_ISDIR(status.st_mode)) return add_repository(git, folder);
    add_all(git, {"", StandIn::none, git_file});
    std::string target = git;
    if (!S_ISLNK(status.st_mode)) target = read_pointer(git, "gitdir:", folder);
    if (const auto real = real_path(target); real && is_ours(*real)) add_repository(*real, folder);
  }

  static std::string read_pointer(const std::string& file, std::string_view key,
                                  const std::string& folder) {
    const auto text = read_file(file, largest_pointer);
    return text ? pointed_to(*text, key, folder) : std::string();
  }

  void add_repository(const std::string& git, const std::string& work_tree) {
    if (sight_.repositories.size() == most_repositories) {
      sight_.is_whole = false;
      return;
    }
    if (!sight_.repositories.insert(git).second) return;
    const std::string common = read_pointer(git + "/commondir", "", git);
    const auto real = real_path(common.empty() ? git : common);
    const bool is_linked = real && *real != git;
    const auto names = is_linked ? names_of_linked_worktree() : names_of_repository();
    for (const ProtectedName& name : names) add(git + "/" + std::string(name.name), name);
    for (const ProtectedName& name : names_only_watched()) {
      insert(git + "/" + std::string(name.name), name, true);
    }
    if (is_linked && is_ours(*real)) add_repository(*real, work_tree);
    for (const char* config : {"/config", "/config.worktree"})
      add_config(git + config, work_tree, 0);
    if (!identity_of(git + "/modules")) {
      insert(git + "/modules", {"", is_linked ? StandIn::none : StandIn::directory, new_modules},
             false);
    }
    for (const Suspect& suspect : suspects_in(git)) {
      insert(suspect.path, {"", StandIn::none, suspect.reason}, true);
    }
    add_linked_worktrees(git + "/worktrees");
    add_modules(git + "/modules", 0);
  }

  void add_config(const std::string& file, const std::string& work_tree, int depth) {
    const auto text = read_file(file, largest_config);
    if (!text) return;
    for (const GitPointer& pointer : pointers_of_config(*text, {file, work_tree, order_.home})) {
      switch (pointer.as) {
        case Obeyed::hooks:
          add_all(pointer.path, {"", StandIn::directory, named_by_config});
          break;
        case Obeyed::include:
          add_all(pointer.path, {"", StandIn::file, included});
          if (depth < deepest_include) add_config(pointer.path, work_tree, depth + 1);
          break;
        case Obeyed::program:
          if (std::error_code error; std::filesystem::is_regular_file(pointer.path, error)) {
            add_all(pointer.path, {"", StandIn::none, named_by_config});
          }
          break;
      }
    }
  }

  void add_user_hooks(const std::string& file) {
    const auto text = read_file(file, largest_config);
    if (!text) return;
    for (const GitPointer& pointer : pointers_of_config(*text, {file, "", order_.home})) {
      if (pointer.as == Obeyed::hooks && !pointer.path.starts_with('/')) {
        user_hooks_.push_back(pointer.path);
      }
    }
  }

  void add_linked_worktrees(const std::string& folder) {
    const auto content = content_of(folder);
    if (!content.is_there) return;
    for (const std::string& name : content.folders) {
      const std::string git = folder + "/" + name;
      if (is_folder(git)) add_repository(git, git);
    }
  }

  // A name with '/' in it is a folder in a folder.
  void add_modules(const std::string& folder, int depth) {
    const auto content = content_of(folder);
    if (!content.is_there || depth == deepest_directory) return;
    for (const std::string& name : content.folders) {
      const std::string path = folder + "/" + name;
      if (std::error_code error; std::filesystem::exists(path + "/HEAD", error)) {
        add_repository(path, path);
      } else {
        add_modules(path, depth + 1);
      }
    }
  }

  bool is_ours(const std::string& path) const {
    return path != order_.source && is_at_or_below(path, order_.source);
  }

  // No symbolic link leads to `path`; it may itself be one.
  void add(const std::string& path, const ProtectedName& name) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) return add_all(path, name);
    insert(path, name, false);
  }

  // Every symbolic link on the way, for whoever replaces it chooses the end; and the end.
  void add_all(const std::string& path, const ProtectedName& name) {
    const std::vector<std::string> touched = touched_paths(path);
    for (std::size_t i = 1; i < touched.size(); ++i) {
      ProtectedName entry = name;
      if (i + 1 < touched.size()) entry.stand_in = StandIn::none;
      insert(touched[i], entry, false);
    }
  }

  void insert(const std::string& path, const ProtectedName& name, bool only_watched) {
    if (!is_ours(path)) return;
    const ProtectedPath found{name.reason, name.stand_in, fingerprint_of(path), only_watched};
    sight_.paths.emplace(path, found);
  }

  const LookOrder& order_;
  std::vector<std::string> user_hooks_;
  std::deque<Folder> waiting_;
  Sight sight_;
};

}  // namespace

Sight look_at(const LookOrder& order) { return Looker(order).run(); }

}  // namespace sluice::launcher
