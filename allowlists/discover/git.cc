#include "allowlists/discover/git.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <set>

#include "allowlists/discover/lines.h"
#include "base/text.h"

namespace sluice::allowlists::discover {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_submodules = 64;
constexpr std::size_t most_module_folders = 256;
constexpr std::size_t most_includes = 64;  // of one file
constexpr int deepest_include = 4;
constexpr int deepest_module = 6;

std::vector<GitEntry> entries_of(Scan& scan, const TextFile& file) {
  auto entries = read_git_config(file.text);
  if (entries) return std::move(*entries);
  scan.findings.warn(file.at(entries.error().line), entries.error().what, "correct it");
  return {};
}

// What a file includes, if anything would act on it.
std::vector<GitEntry> includes_of(Scan& scan, const TextFile& file,
                                  const std::vector<GitEntry>& entries) {
  std::vector<GitEntry> includes;
  for (const GitEntry& entry : entries) {
    const bool is_include = entry.section == "include" || entry.section == "includeif";
    if (!is_include || entry.key != "path") continue;
    if (includes.size() == most_includes) {
      scan.findings.warn(
          file.at(entry.line),
          fmt::format("more than {} files are included: the rest was not read", most_includes));
      break;
    }
    includes.push_back(entry);
  }
  return includes;
}

// Without "." and ".." where they can be done without, and without a '/' at its end.
std::string normal(const fs::path& path) {
  std::string text = path.lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

void tell_unread_include(Scan& scan, const TextFile& file, const GitEntry& entry) {
  scan.findings.warn(file.at(entry.line),
                     fmt::format("it includes '{}', which was not read",
                                 text::printable(entry.value.substr(0, 200))),
                     "look there for remotes and for url.<base>.insteadOf");
}

// Where an [include] of `file` leads (git-config(1), Includes).
std::string include_path(const Scan& scan, const TextFile& file, const std::string& value) {
  if (value.starts_with("~/")) return scan.files.machine().home + value.substr(1);
  return normal(fs::path(file.path).parent_path() / value);
}

void add_user_file(Scan& scan, GitRemotes& remotes, const std::optional<TextFile>& file,
                   int depth) {
  if (!file) return;
  const auto entries = entries_of(scan, *file);
  remotes.add(entries, file->at(0));
  for (const GitEntry& entry : includes_of(scan, *file, entries)) {
    // What the conditions of includeIf ask is known only inside of a repository.
    if (entry.section == "includeif" || depth == deepest_include || file->trust != Trust::user) {
      tell_unread_include(scan, *file, entry);
    } else {
      add_user_file(scan, remotes, scan.files.user(include_path(scan, *file, entry.value)),
                    depth + 1);
    }
  }
}

// The configuration of one repository: what it includes is read only where it stands in the same
// git directory.
void add_repository_file(Scan& scan, GitRemotes& remotes, const std::string& relative, int depth) {
  if (!remotes.is_new(relative)) return;
  const auto file = scan.files.project(relative);
  if (!file) return;
  const auto entries = entries_of(scan, *file);
  remotes.add(entries, file->at(0));
  const fs::path folder = fs::path(relative).parent_path();
  for (const GitEntry& entry : includes_of(scan, *file, entries)) {
    const std::string target = normal(folder / entry.value);
    const bool is_inside = target.starts_with(folder.string() + "/");
    if (is_inside && entry.section == "include" && depth < deepest_include) {
      add_repository_file(scan, remotes, target, depth + 1);
    } else {
      tell_unread_include(scan, *file, entry);
    }
  }
}

// The first line of a small file such as .git or commondir, without `key` before it.
std::string pointer_in(Scan& scan, const std::string& relative, std::string_view key) {
  const auto file = scan.files.project(relative);
  if (!file) return {};
  const auto lines = split_lines(file->text);
  if (lines.empty() || !lines.front().text.starts_with(key)) return {};
  return std::string(trimmed(std::string_view(lines.front().text).substr(key.size())));
}

// The git directory of a work tree: "sub/.git", or where the file of that name points
// (gitrepository-layout(5)); a path below the project's directory or an absolute one.
std::string git_directory(Scan& scan, const std::string& folder) {
  std::string standard = folder + ".git";
  std::error_code error;
  if (!fs::is_regular_file(scan.files.project_path(standard), error)) return standard;
  const std::string target = pointer_in(scan, standard, "gitdir:");
  return target.empty() ? std::string() : normal(fs::path(folder) / target);
}

void add_git_directory(Scan& scan, GitRemotes& remotes, const std::string& git) {
  if (git.empty()) return;
  add_repository_file(scan, remotes, git + "/config", 0);
  add_repository_file(scan, remotes, git + "/config.worktree", 0);
  const std::string common = pointer_in(scan, git + "/commondir", "");
  if (common.empty()) return;
  const std::string shared = normal(fs::path(git) / common);
  add_repository_file(scan, remotes, shared + "/config", 0);
}

// .git/modules: a name with '/' in it is a folder in a folder; symbolic links are not followed.
void add_modules(Scan& scan, GitRemotes& remotes) {
  std::deque<std::pair<std::string, int>> waiting = {{".git/modules", 0}};
  for (std::size_t seen = 0; !waiting.empty() && seen < most_module_folders; ++seen) {
    const auto [folder, depth] = waiting.front();
    waiting.pop_front();
    std::error_code error;
    const fs::path path = scan.files.project_path(folder);
    if (fs::symlink_status(path, error).type() != fs::file_type::directory) continue;
    const bool is_repository = scan.files.project_has(folder + "/config");
    if (is_repository) add_repository_file(scan, remotes, folder + "/config", 0);
    if (depth == deepest_module) continue;
    if (is_repository) {
      waiting.emplace_back(folder + "/modules", depth + 1);
      continue;
    }
    for (const std::string& name : scan.files.names_in(path.string(), "", "")) {
      if (waiting.size() < most_module_folders)
        waiting.emplace_back(fmt::format("{}/{}", folder, name), depth + 1);
    }
  }
}

// "sub/dir/" for a path that stays below the project's directory, else "".
std::string folder_below(const std::string& path) {
  const fs::path inner = fs::path(path).lexically_normal();
  if (path.empty() || inner.is_absolute() || *inner.begin() == ".." || inner == ".") return {};
  std::string folder = inner.string();
  if (!folder.ends_with('/')) folder += '/';
  return folder;
}

}  // namespace

void read_git_user(Scan& scan, GitRemotes& remotes) {
  if (scan.files.variable("GIT_CONFIG_SYSTEM").empty()) {
    add_user_file(scan, remotes, scan.files.system("/etc/gitconfig"), 0);
  }
  add_user_file(scan, remotes, scan.files.named_by("GIT_CONFIG_SYSTEM"), 0);
  // It takes the place of both files of the user (git(1)).
  if (!scan.files.variable("GIT_CONFIG_GLOBAL").empty()) {
    return add_user_file(scan, remotes, scan.files.named_by("GIT_CONFIG_GLOBAL"), 0);
  }
  add_user_file(scan, remotes, scan.files.config("git/config"), 0);
  add_user_file(scan, remotes, scan.files.home(".gitconfig"), 0);
}

void read_git_project(Scan& scan, GitRemotes& remotes, const std::string& folder) {
  add_git_directory(scan, remotes, git_directory(scan, folder));
  add_repository_file(scan, remotes, folder + ".gitmodules", 0);
  add_repository_file(scan, remotes, folder + ".lfsconfig", 0);
  if (folder.empty()) add_modules(scan, remotes);
}

std::vector<std::string> submodule_folders(Scan& scan) {
  std::vector<std::string> folders;
  std::set<std::string> known = {""};
  std::deque<std::string> waiting = {""};
  while (!waiting.empty() && folders.size() < most_submodules) {
    const std::string folder = waiting.front();
    waiting.pop_front();
    if (!folder.empty()) folders.push_back(folder);
    const auto file = scan.files.project(folder + ".gitmodules");
    if (!file) continue;
    const auto entries = read_git_config(file->text);
    if (!entries) continue;
    for (const GitEntry& entry : *entries) {
      if (entry.section != "submodule" || entry.key != "path") continue;
      const std::string inner = folder_below(entry.value);
      if (inner.empty() || known.size() > most_submodules) continue;
      if (known.insert(folder + inner).second) waiting.push_back(folder + inner);
    }
  }
  return folders;
}

}  // namespace sluice::allowlists::discover
