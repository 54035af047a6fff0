#include "allowlists/discover/files.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <utility>

#include "base/io.h"

namespace sluice::allowlists::discover {
namespace {

namespace fs = std::filesystem;

std::string joined(std::string_view folder, std::string_view name) {
  std::string path(folder);
  if (!path.ends_with('/')) path += '/';
  while (name.starts_with('/')) name.remove_prefix(1);
  return path.append(name);
}

bool is_within(const fs::path& path, const fs::path& folder) {
  const auto [end, rest] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  (void)rest;
  return end == folder.end();
}

// Begins `path` again at where the symbolic link `at` points. False for a link that cannot be read.
bool follow(const fs::path& link, fs::path& at, std::deque<fs::path>& rest) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  if (error) return false;
  std::deque<fs::path> parts;
  for (const fs::path& part : target.relative_path()) parts.push_back(part);
  rest.insert(rest.begin(), parts.begin(), parts.end());
  if (target.is_absolute()) at = "/";
  return true;
}

}  // namespace

Files::Files(std::string directory, const Machine& machine, Findings& findings)
    : directory_(std::move(directory)), machine_(machine), findings_(findings) {
  std::error_code error;
  canonical_ = fs::canonical(directory_, error).string();
}

// Resolves the path part by part, as the kernel does: a link that stands in the project's directory
// was made by whoever writes there, wherever it points.
bool Files::leads_through_project(const std::string& path) const {
  constexpr int most_links = 40;  // path_resolution(7)
  fs::path at = "/";
  std::deque<fs::path> rest;
  std::error_code error;
  for (const fs::path& part : fs::absolute(path, error).relative_path()) rest.push_back(part);
  for (int links = 0; !rest.empty();) {
    const fs::path part = rest.front();
    rest.pop_front();
    if (part.empty() || part == ".") continue;
    const fs::path next = part == ".." ? at.parent_path() : at / part;
    if (part != ".." && fs::is_symlink(fs::symlink_status(next, error))) {
      if (++links > most_links || !follow(next, at, rest)) return true;
    } else {
      at = next;
    }
    if (is_within(at, canonical_)) return true;
  }
  return false;
}

std::string Files::shown(const std::string& path) const {
  const std::string& home = machine_.home;
  if (!home.empty() && path.starts_with(home) && path.size() > home.size() &&
      (home.ends_with('/') || path[home.size()] == '/')) {
    return joined("~", std::string_view(path).substr(home.size()));
  }
  const std::string& root = machine_.root;
  return root.size() > 1 && path.starts_with(root) ? path.substr(root.size()) : path;
}

std::optional<TextFile> Files::open(const std::string& path, std::string name, Trust trust) {
  struct stat status {};
  const Place place{name, 0, trust};
  if (opened_ > max_files) return std::nullopt;
  if (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) {
      findings_.warn(place, errno_error(Errc::unavailable, "it cannot be read", errno).what);
    }
    return std::nullopt;
  }
  // Before it is opened: opening a device can act.
  if (!S_ISREG(status.st_mode)) {
    findings_.warn(place, "it is no regular file, and was not read");
    return std::nullopt;
  }
  if (++opened_ > max_files || read_ > max_bytes_in_all) {
    findings_.warn(place, fmt::format("this file and all behind it were not read: {} files of {} "
                                      "MiB together are the most",
                                      max_files, max_bytes_in_all >> 20));
    opened_ = max_files + 1;
    return std::nullopt;
  }
  auto text = read_file(path, max_bytes);
  if (!text) {
    const bool too_large = text.error().code == Errc::bad_config;
    findings_.warn(
        place, too_large ? fmt::format("it is larger than {} bytes, and was not read", max_bytes)
                         : "it cannot be read");
    return std::nullopt;
  }
  read_ += text->size();
  return TextFile{path, std::move(name), std::move(*text), trust};
}

std::optional<TextFile> Files::project(const std::string& relative) {
  return open(project_path(relative), relative, Trust::project);
}

std::optional<TextFile> Files::user(const std::string& path) {
  return open(path, shown(path), leads_through_project(path) ? Trust::project : Trust::user);
}

std::optional<TextFile> Files::system(std::string_view path) { return user(system_path(path)); }

std::optional<TextFile> Files::home(std::string_view relative) {
  if (machine_.home.empty()) return std::nullopt;
  return user(joined(machine_.home, relative));
}

std::optional<TextFile> Files::config(std::string_view relative) {
  const std::string& folder = variable("XDG_CONFIG_HOME");
  // Relative paths are invalid there (XDG Base Directory Specification).
  if (folder.starts_with('/')) return user(joined(folder, relative));
  return home(joined(".config", relative));
}

std::optional<TextFile> Files::named_by(const std::string& name) {
  const std::string& path = variable(name);
  // Written where somebody wants no file at all.
  return path.empty() || path == "/dev/null" ? std::nullopt : user(path);
}

std::vector<std::string> Files::names_in(const std::string& path, std::string_view prefix,
                                         std::string_view suffix) const {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(path, error);
  for (std::size_t seen = 0; !error && entry != fs::directory_iterator() && seen < max_entries;
       ++seen) {
    std::string name = entry->path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) names.push_back(std::move(name));
    entry.increment(error);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string Files::system_path(std::string_view path) const { return joined(machine_.root, path); }

std::string Files::project_path(const std::string& relative) const {
  return relative.starts_with('/') ? relative : joined(directory_, relative);
}

bool Files::project_has(const std::string& relative) const {
  std::error_code error;
  return fs::exists(fs::symlink_status(project_path(relative), error));
}

const std::string& Files::variable(const std::string& name) const {
  static const std::string unset;
  const auto found = machine_.environment.find(name);
  return found == machine_.environment.end() ? unset : found->second;
}

}  // namespace sluice::allowlists::discover
