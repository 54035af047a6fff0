#include "launcher/protection/git_look.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/io.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_config = std::size_t{1024} * 1024;
constexpr std::size_t largest_pointer = 8192;
constexpr std::size_t largest_index = std::size_t{256} * 1024 * 1024;
constexpr int deepest_include = 5;
constexpr std::size_t most_configs = 4000;
constexpr std::string_view repository = "a repository, whose hooks and config git obeys";
constexpr std::string_view included = "is obeyed as the configuration that includes it is";
constexpr std::string_view named_by_config = "git runs it: its configuration names it";
constexpr std::string_view asked_by_config =
    "git runs it when it is asked to: its configuration names it";
constexpr std::string_view new_modules = "git takes a repository in it for the submodule's";
constexpr std::string_view git_file = "says which repository this is: git obeys its hooks";
constexpr std::string_view elsewhere = "a symbolic link: git may write to where it leads";
constexpr std::string_view astray = "an index that makes git checkout write where git never does";

bool is_folder(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::string parent_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

std::string read_pointer(const std::string& file, std::string_view key, const std::string& folder) {
  const auto text = read_file(file, largest_pointer);
  return text ? pointed_to(*text, key, folder) : std::string();
}

// The directory whose configuration and hooks hold: of a linked worktree its repository's.
std::string common_of(const std::string& git) {
  const std::string common = read_pointer(git + "/commondir", "", git);
  return common.empty() ? git : common;
}

// Of the repository at `git`, what its configuration says.
RepositoryFacts facts_of(const std::string& git, const std::string& home) {
  const std::string file = common_of(git) + "/config";
  const auto text = read_file(file, largest_config);
  if (!text) return {};
  // A name of its own: GCC 12 ends a temporary in a conditional twice where making it throws.
  const GitConfigPlace place{file, git, home};
  return facts_of_config(*text, place);
}

}  // namespace

void GitLook::look_above() {
  std::filesystem::path folder(order_.source);
  while (folder.has_relative_path()) {
    folder = folder.parent_path();
    const std::string git = (folder / ".git").string();
    if (!identity_of(git)) continue;
    const std::string target = is_folder(git) ? git : read_pointer(git, "gitdir:", folder.string());
    add_config(common_of(target) + "/config", folder.string(), 0);
    return;
  }
}

void GitLook::look_at_git_of(const std::string& folder) {
  const std::string git = folder + "/.git";
  struct stat status {};
  if (::lstat(git.c_str(), &status) != 0) return;
  std::string target = git;
  if (!S_ISDIR(status.st_mode)) {
    findings_.add_all(git, {"", StandIn::none, git_file});
    if (!S_ISLNK(status.st_mode)) target = read_pointer(git, "gitdir:", folder);
  }
  if (const auto real = real_path(target); real && findings_.is_ours(*real)) {
    look_at_repository(*real, folder);
  }
}

void GitLook::look_at_repository(const std::string& git, const std::string& work_tree) {
  const bool is_at_work = !repositories_.empty() || !modules_.empty();
  wait(git, work_tree);
  if (!is_at_work) work();
}

void GitLook::wait(const std::string& git, const std::string& work_tree) {
  repositories_.push_back({git, work_tree});
}

// What is found on the way waits as well: how deep they lie in each other costs no stack.
void GitLook::work() {
  while (!repositories_.empty() || !modules_.empty()) {
    if (!modules_.empty()) {
      add_modules(modules_.front());
      modules_.pop_front();
    } else {
      add(repositories_.front());
      repositories_.pop_front();
    }
  }
}

void GitLook::add(const Found& found) {
  const std::string git = found.git;
  if (findings_.add_repository(git, repository)) {
    const auto real = real_path(common_of(git));
    const bool is_linked = real && *real != git;
    const auto names = is_linked ? names_of_linked_worktree() : names_of_repository();
    for (const ProtectedName& name : names) findings_.add(below(git, name.name), name);
    for (const ProtectedName& name : names_only_watched()) {
      findings_.watch(below(git, name.name), name.reason);
    }
    if (is_linked && findings_.is_ours(*real)) wait(*real, found.work_tree);
    for (const char* config : {"/config", "/config.worktree"}) {
      add_config(git + config, found.work_tree, 0);
    }
    if (!identity_of(git + "/modules")) {
      const StandIn stand_in = is_linked ? StandIn::none : StandIn::directory;
      findings_.add(git + "/modules", {"", stand_in, new_modules});
    } else if (const auto modules = real_path(git + "/modules"); modules) {
      modules_.push_back(*modules);
    }
    add_linked_worktrees(git + "/worktrees");
    add_interior(git);
  }
  add_indexes(git, found.work_tree);
  if (const auto facts = facts_of(git, order_.home); !facts.work_tree.empty()) {
    add_indexes(git, facts.work_tree);
  }
  const std::string linked = read_pointer(git + "/gitdir", "", git);
  if (!linked.empty()) add_indexes(git, parent_of(linked));
}

void GitLook::add_interior(const std::string& git) {
  GitInterior interior = look_inside(git, findings_, left_);
  for (const std::string& link : interior.links) findings_.watch(link, elsewhere);
  for (const std::string& folder : interior.holders) look_at_git_of(folder);
  for (const std::string& inner : interior.repositories) wait(inner, inner);
  indexes_[git] = std::move(interior.indexes);
}

void GitLook::add_indexes(const std::string& git, const std::string& work_tree) {
  if (!known_indexes_.emplace(git, work_tree).second) return;
  const ObjectFormat format = facts_of(git, order_.home).format;
  auto wanted = PathsWanted::of_repositories;
  for (const std::string& file : indexes_[git]) {
    const auto text = read_file(file, largest_index);
    const auto content =
        text ? read_index(*text, format, wanted) : IndexContent{.leads_astray = true};
    if (content.is_cut) {
      findings_.miss(fmt::format("{} names more than can be looked at", in_quotes(file)));
    }
    if (content.leads_astray) findings_.watch(file, astray);
    if (content.is_half) wanted = PathsWanted::all;
    for (const std::string& path : content.paths) add_submodule(below(work_tree, path));
    for (const std::string& path : content.folders) {
      const auto real = real_path(below(work_tree, path));
      if (real && findings_.is_ours(*real)) further_.push_back(*real);
    }
  }
}

void GitLook::add_submodule(const std::string& path) {
  if (submodules_left_ == 0) {
    return findings_.miss(fmt::format("its indexes name more than {} submodules", most_submodules));
  }
  --submodules_left_;
  if (!identity_of(path + "/.git")) return;
  const auto real = real_path(path);
  if (real && findings_.is_ours(*real)) look_at_git_of(*real);
}

void GitLook::add_config(const std::string& file, const std::string& work_tree, int depth) {
  const auto real = real_path(file);
  if (!real || known_configs_.contains({*real, work_tree})) return;
  if (known_configs_.size() == most_configs) {
    return findings_.miss(
        fmt::format("its repositories have more than {} configuration files", most_configs));
  }
  known_configs_.emplace(*real, work_tree);
  const auto text = read_file(file, largest_config);
  if (!text) return;
  std::string computed;
  for (const GitPointer& pointer : pointers_of_config(*text, {file, work_tree, order_.home})) {
    if (pointer.as == Obeyed::more) {
      findings_.miss(fmt::format("{} names more than {} files", in_quotes(file), most_pointers));
    } else if (pointer.as != Obeyed::computed) {
      add_pointer(pointer, work_tree, depth);
    } else {
      computed += (computed.empty() ? "" : ", ") + pointer.path;
    }
  }
  if (computed.empty()) return;
  findings_.add_computed(
      fmt::format("{} computes what {} runs", in_quotes(file), text::printable(computed)));
}

void GitLook::add_pointer(const GitPointer& pointer, const std::string& work_tree, int depth) {
  std::error_code error;
  switch (pointer.as) {
    case Obeyed::hooks:
      findings_.add_all(pointer.path, {"", StandIn::directory, named_by_config});
      break;
    case Obeyed::include:
      findings_.add_all(pointer.path, {"", StandIn::file, included});
      if (depth < deepest_include) add_config(pointer.path, work_tree, depth + 1);
      break;
    case Obeyed::program:
      if (std::filesystem::is_regular_file(pointer.path, error)) {
        findings_.add_all(pointer.path, {"", StandIn::none, named_by_config});
      }
      break;
    case Obeyed::asked_for:
      if (!std::filesystem::is_regular_file(pointer.path, error)) break;
      if (const auto real = real_path(pointer.path)) findings_.watch(*real, asked_by_config);
      break;
    case Obeyed::computed:
    case Obeyed::more:
      break;
  }
}

void GitLook::add_linked_worktrees(const std::string& folder) {
  const auto content = findings_.read(folder);
  for (const std::string& name : content.folders) wait(below(folder, name), below(folder, name));
}

// A name with '/' in it is a folder in a folder; git follows links.
void GitLook::add_modules(const std::string& folder) {
  if (!known_modules_.insert(folder).second || !may_read()) return;
  const auto content = findings_.read(folder);
  std::vector<std::string> found;
  found.reserve(content.folders.size() + content.links.size());
  for (const std::string& name : content.folders) found.push_back(below(folder, name));
  for (const std::string& name : content.links) {
    const auto real = real_path(below(folder, name));
    if (real && findings_.is_ours(*real) && is_folder(*real)) found.push_back(*real);
  }
  for (const std::string& path : found) {
    if (identity_of(path + "/HEAD")) {
      wait(path, path);
    } else {
      modules_.push_back(path);
    }
  }
}

bool GitLook::may_read() {
  if (left_ != 0) return --left_, true;
  findings_.miss(
      fmt::format("its repositories have more than {} directories in them", most_git_directories));
  return false;
}

}  // namespace sluice::launcher
