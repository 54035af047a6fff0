#include "launcher/protection/sight.h"

#include <fmt/core.h>

#include <deque>
#include <filesystem>

#include "base/io.h"
#include "launcher/paths.h"
#include "launcher/protection/findings.h"
#include "launcher/protection/git_look.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_config = std::size_t{1024} * 1024;
constexpr std::string_view packages = "/node_modules/";  // full of other people's settings
constexpr std::string_view named_by_config = "git runs it: its configuration names it";
constexpr std::string_view editor_workspace = "settings and tasks that the editor runs";
constexpr std::string_view by_policy = "the policy protects it";
constexpr std::string_view into_git = "a symbolic link into a repository's own files";

class Looker {
 public:
  Looker(const LookOrder& order, Sight& sight)
      : order_(order), findings_(order.source, sight), git_(order, findings_) {
    for (const std::string& file : order.git_config) add_user_hooks(file);
  }

  void run() {
    for (const std::string& path : order_.protects) {
      findings_.add_with_ways(path, {"", StandIn::directory, by_policy});
    }
    git_.look_above();
    waiting_.push_back(order_.source);
    for (std::size_t seen = 0; !waiting_.empty(); ++seen) {
      if (seen == most_directories) {
        findings_.miss(fmt::format("it has more than {} directories", most_directories));
        break;
      }
      const std::string folder = std::move(waiting_.front());
      waiting_.pop_front();
      visit(folder);
      for (const std::string& further : git_.take_further()) waiting_.push_front(further);
    }
    add_links_into_git();
  }

 private:
  void visit(const std::string& folder) {
    const auto content = findings_.read(folder);
    if (!content.is_there) return;
    const bool has_git = content.has(".git");
    if (has_git) git_.look_at_git_of(folder);
    if (content.is_repository()) git_.look_at_repository(folder, folder);
    add_other_systems(folder, content);
    const bool is_top = folder == order_.source;
    const bool is_project = has_git || (is_top && order_.is_project);
    const bool is_package = folder.find(packages) != std::string::npos;
    if (is_project) add_project(folder, content);
    if (!is_project && !is_package) watch_names(folder, content);
    if (!is_package) add_links(folder, content);
    for (const std::string& name : content.folders) waiting_.push_back(below(folder, name));
  }

  // In any other directory they are only named when they appear or change: as mounts they would
  // keep every directory above them from being moved.
  void watch_names(const std::string& folder, const FolderContent& content) {
    for (const ProtectedName& name : names_of_project()) {
      if (content.has(name.name)) findings_.watch(below(folder, name.name), name.reason);
    }
  }

  void add_project(const std::string& folder, const FolderContent& content) {
    const bool stands_in = folder == order_.source;
    for (const ProtectedName& name : names_of_project()) {
      if (!content.has(name.name) && !stands_in) continue;
      findings_.add(below(folder, name.name), name);
    }
    for (const std::string& name : content.known) {
      if (!name.ends_with(workspace_ending)) continue;
      findings_.add(below(folder, name), {"", StandIn::none, editor_workspace});
    }
    for (const std::string& hooks : user_hooks_) {
      findings_.add_all(below(folder, hooks), {"", StandIn::directory, named_by_config});
    }
  }

  void add_other_systems(const std::string& folder, const FolderContent& content) {
    for (const OtherSystem& system : other_systems()) {
      if (!content.has(system.folder)) continue;
      const std::string repository = below(folder, system.folder);
      if (!findings_.add_repository(repository, system.reason)) continue;
      for (const ProtectedName& name : system.names) {
        findings_.add_all(below(repository, name.name), name);
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

  void add_links(const std::string& folder, const FolderContent& content) {
    for (const std::string& name : content.links) {
      if (links_.size() == most_links) {
        return findings_.miss(fmt::format("it has more than {} symbolic links", most_links));
      }
      links_.push_back(below(folder, name));
    }
  }

  // Whoever follows one with `cd` may be in a repository that lies there.
  void add_links_into_git() {
    for (const std::string& link : links_) {
      const auto end = real_path(link);
      if (!end) continue;
      for (std::filesystem::path at(*end); at.has_relative_path(); at = at.parent_path()) {
        const std::string path = at.string();
        if (!findings_.is_ours(path)) break;
        if (!findings_.is_repository(path)) continue;
        findings_.watch(link, into_git);
        break;
      }
    }
  }

  const LookOrder& order_;
  Findings findings_;
  GitLook git_;
  std::vector<std::string> user_hooks_;
  std::deque<std::string> waiting_;
  std::vector<std::string> links_;
};

}  // namespace

void look_at(const LookOrder& order, Sight& sight) { Looker(order, sight).run(); }

Sight look_at(const LookOrder& order) {
  Sight sight;
  look_at(order, sight);
  return sight;
}

}  // namespace sluice::launcher
