#include "launcher/roots/remove_tree.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/fd.h"
#include "base/text.h"
#include "launcher/roots/as_owner.h"
#include "launcher/roots/upper_layer.h"

namespace sluice::launcher {
namespace {

Failure cannot_remove(std::string_view name) {
  return fail_errno(Errc::unavailable, fmt::format("cannot remove '{}'", text::printable(name)));
}

// Removes what is in a directory without going deeper than two: a directory in a directory is first
// moved up. However deep an agent made it, no path is too long and two descriptors are enough.
class Remover {
 public:
  Remover(int top, dev_t device) : top_(top), device_(device) {}

  // Until nothing is left, for directories come from below.
  Result<void> empty() {
    for (;;) {
      const auto names = entries_of(top_);
      if (!names) return Failure(names.error());
      if (names->empty()) return {};
      for (const std::string& name : *names) {
        if (auto done = remove(name); !done) return done;
      }
    }
  }

 private:
  // Nothing where it is a directory, which can be read and changed from now on.
  Result<bool> remove_unless_directory(int at, const std::string& name) {
    struct stat status {};
    if (::fstatat(at, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return cannot_remove(name);
    if (!S_ISDIR(status.st_mode)) {
      if (::unlinkat(at, name.c_str(), 0) != 0) return cannot_remove(name);
      return true;
    }
    if (status.st_dev != device_) {
      errno = EXDEV;
      return cannot_remove(name);
    }
    if ((status.st_mode & 0700) != 0700 && ::fchmodat(at, name.c_str(), 0700, 0) != 0) {
      return cannot_remove(name);
    }
    return false;
  }

  Result<void> remove(const std::string& name) {
    const auto removed = remove_unless_directory(top_, name);
    if (!removed) return Failure(removed.error());
    if (*removed) return {};
    const auto directory = open_directory_of(top_, name);
    if (!directory) return Failure(directory.error());
    const auto names = entries_of(directory->get());
    if (!names) return Failure(names.error());
    for (const std::string& inner : *names) {
      const auto gone = remove_unless_directory(directory->get(), inner);
      if (!gone) return Failure(gone.error());
      if (*gone) continue;
      if (auto moved = move_up(directory->get(), inner); !moved) return moved;
    }
    if (::unlinkat(top_, name.c_str(), AT_REMOVEDIR) != 0) return cannot_remove(name);
    return {};
  }

  Result<void> move_up(int from, const std::string& name) {
    for (;;) {
      const std::string above = fmt::format("{}", next_++);
      if (::renameat2(from, name.c_str(), top_, above.c_str(), RENAME_NOREPLACE) == 0) return {};
      if (errno != EEXIST) return cannot_remove(name);
    }
  }

  int top_;
  dev_t device_;
  std::uint64_t next_ = 0;
};

}  // namespace

Result<void> remove_tree(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return cannot_remove(path);
  }
  if (!S_ISDIR(status.st_mode)) {
    if (::unlink(path.c_str()) != 0) return cannot_remove(path);
    return {};
  }
  if ((status.st_mode & 0700) != 0700 && ::chmod(path.c_str(), 0700) != 0) {
    return cannot_remove(path);
  }
  const auto directory = open_directory_of(AT_FDCWD, path);
  if (!directory) return Failure(directory.error());
  if (auto done = Remover(directory->get(), status.st_dev).empty(); !done) return done;
  if (::rmdir(path.c_str()) != 0) return cannot_remove(path);
  return {};
}

Result<void> remove_root(const std::string& path) {
  auto removed = remove_tree(path);
  const auto ids = removed ? std::nullopt : find_sub_ids();
  if (!ids) return removed;
  return as_owner(*ids, [&] { return remove_tree(path).map([] { return std::string(); }); })
      .map([](const std::string&) {});
}

}  // namespace sluice::launcher
