#include "launcher/protection/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "launcher/protection/names.h"

namespace sluice::launcher {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

bool says_something(std::string_view name) {
  if (name == ".git" || name == "HEAD" || name == "objects" || name == "refs") return true;
  if (name == "commondir" || name.ends_with(workspace_ending)) return true;
  if (name == index_name || name.starts_with(shared_index_beginning)) return true;
  const auto names = names_of_project();
  const auto others = other_systems();
  return name.starts_with('.') &&
         (std::any_of(names.begin(), names.end(),
                      [&](const auto& known) { return known.name == name; }) ||
          std::any_of(others.begin(), others.end(),
                      [&](const auto& known) { return known.folder == name; }));
}

Fd open_folder(const std::string& path) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how))));
}

// Some file systems do not say it in the directory (readdir(3)).
mode_t kind_of(const dirent& entry, int folder) {
  if (entry.d_type != DT_UNKNOWN) return DTTOIF(entry.d_type);
  struct stat status {};
  return ::fstatat(folder, entry.d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status.st_mode : 0;
}

bool is_own(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) != 0 || status.st_uid == ::geteuid();
}

}  // namespace

FolderContent read_folder(const std::string& path) {
  FolderContent content;
  Fd fd = open_folder(path);
  if (!fd && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return content;
  const std::unique_ptr<DIR, CloseDirectory> entries(fd ? ::fdopendir(fd.release()) : nullptr);
  content.is_there = bool(entries);
  content.is_closed = !content.is_there && is_own(path);
  if (!content.is_there) return content;
  while (const dirent* const entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (says_something(name)) content.known.emplace(name);
    const mode_t kind = kind_of(*entry, ::dirfd(entries.get()));
    if (S_ISLNK(kind)) content.links.emplace_back(name);
    if (S_ISDIR(kind) && name != ".git") content.folders.emplace_back(name);
  }
  return content;
}

}  // namespace sluice::launcher
