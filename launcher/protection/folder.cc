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
  const auto names = names_of_project();
  return name.starts_with('.') && std::any_of(names.begin(), names.end(), [&](const auto& known) {
           return known.name == name;
         });
}

Fd open_folder(const std::string& path) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how))));
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
    const bool may_be_folder = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
    if (may_be_folder && name != ".git") content.folders.emplace_back(name);
  }
  return content;
}

}  // namespace sluice::launcher
