#include "launcher/roots/written.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/roots/upper_layer.h"

namespace sluice::launcher {
namespace {

class Account {
 public:
  // Of `owner` is what belongs to the agent itself.
  Account(uid_t owner, WrittenTree& tree) : owner_(owner), tree_(tree) {}

  // `below` is the root's directory at `path`, which `directory` was laid upon.
  Result<void> look(int directory, int below, const std::string& path) {
    const auto names = entries_of(directory);
    if (!names) return Failure(names.error());
    Written here{.directory = path.empty() ? "/" : path};
    const std::size_t known = tree_.places.size();
    for (const std::string& name : *names) {
      struct stat status {};
      if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return fail_errno(Errc::unavailable, text::printable(path + "/" + name));
      }
      auto done = S_ISDIR(status.st_mode) ? look_below({directory, below, name, path, status}, here)
                                          : look_at({directory, below, name, path, status}, here);
      if (!done) return done;
    }
    // Where nothing is left there was something for a time, or its own mode or owner was changed.
    const bool is_empty = here.entries == 0 && here.deletions == 0;
    if (is_empty && (tree_.places.size() != known || path.empty() || has_more_)) return {};
    tree_.places.push_back(std::move(here));
    return {};
  }

 private:
  struct Entry {
    int directory;
    int below;
    const std::string& name;
    const std::string& path;  // of the directory
    const struct stat& status;
  };

  Result<void> look_at(const Entry& entry, Written& here) {
    struct stat status {};
    const bool is_there =
        ::fstatat(entry.below, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    here.is_all_new &= !is_there;
    if (is_whiteout(entry.status)) {
      ++here.deletions;
    } else {
      count(entry.status, here);
      if (!is_there) note_owner(entry.status);
    }
    return {};
  }

  Result<void> look_below(const Entry& entry, Written& here) {
    make_readable(entry.directory, entry.name, entry.status);
    const auto directory = open_directory_of(entry.directory, entry.name);
    if (!directory) return Failure(directory.error());
    const std::string path = entry.path + "/" + entry.name;
    if (depth_ == deepest_change) {
      has_more_ = true;
      return {};
    }
    constexpr int only_to_look_in = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const Fd below(::openat(entry.below, entry.name.c_str(), only_to_look_in));
    if (below && !is_opaque(directory->get())) {
      ++depth_;
      auto done = look(directory->get(), below.get(), path);
      --depth_;
      return done;
    }
    struct stat status {};
    const bool is_there =
        ::fstatat(entry.below, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there) ++here.deletions;
    here.is_all_new &= !is_there;
    // A directory beside /usr and /etc, that is.
    if (!entry.path.empty() || is_there) return count_below(entry, directory->get(), here);
    Written made{.directory = path, .is_missing = true};
    auto done = count_below(entry, directory->get(), made);
    if (done) tree_.places.push_back(std::move(made));
    return done;
  }

  // Everything in a directory that the root does not have, and itself.
  Result<void> count_below(const Entry& entry, int directory, Written& into) {
    count(entry.status, into);
    note_owner(entry.status);
    return count_all(directory, into);
  }

  Result<void> count_all(int directory, Written& into) {
    const auto names = entries_of(directory);
    if (!names) return Failure(names.error());
    for (const std::string& name : *names) {
      struct stat status {};
      if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return fail_errno(Errc::unavailable, text::printable(name));
      }
      if (is_whiteout(status)) continue;
      count(status, into);
      note_owner(status);
      if (!S_ISDIR(status.st_mode)) continue;
      if (depth_ == deepest_change) {
        has_more_ = true;
        continue;
      }
      make_readable(directory, name, status);
      const auto inner = open_directory_of(directory, name);
      if (!inner) return Failure(inner.error());
      ++depth_;
      auto done = count_all(inner->get(), into);
      --depth_;
      if (!done) return done;
    }
    return {};
  }

  // More names of one file are one.
  void count(const struct stat& status, Written& into) {
    if (!S_ISDIR(status.st_mode) && status.st_nlink > 1 && !names_.insert(status.st_ino).second) {
      return;
    }
    ++into.entries;
    if (S_ISREG(status.st_mode)) {
      ++into.files;
      into.bytes += static_cast<std::uint64_t>(std::min(status.st_size, status.st_blocks * 512));
    }
  }

  void note_owner(const struct stat& status) { tree_.has_other_owners |= status.st_uid != owner_; }

  uid_t owner_;
  WrittenTree& tree_;
  std::set<ino_t> names_;  // of files with several
  std::size_t depth_ = 0;
  bool has_more_ = false;
};

void add(const Written& more, Written& into) {
  into.files += more.files;
  into.bytes += more.bytes;
  into.deletions += more.deletions;
  into.entries += more.entries;
  into.is_all_new &= more.is_all_new;
}

}  // namespace

Result<WrittenTree> look_at_written(int changes, const Root& root,
                                    const std::vector<std::string>& files) {
  const auto below = open_directory_of(AT_FDCWD, root.source);
  if (!below) return Failure(below.error());
  struct stat status {};
  if (::fstat(changes, &status) != 0) return fail_errno(Errc::bug, "fstat");
  WrittenTree tree;
  Account account(status.st_uid, tree);
  if (auto done = account.look(changes, below->get(), ""); !done) return Failure(done.error());
  for (const std::string& file : files) {
    if (::fstatat(changes, file.c_str() + 1, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      tree.files.push_back(file);
    }
  }
  tree.places = without_nested(std::move(tree.places));
  return tree;
}

std::vector<Written> without_nested(std::vector<Written> places) {
  // By component, so that a directory comes before what is in it.
  std::sort(places.begin(), places.end(), [](const Written& a, const Written& b) {
    return std::filesystem::path(a.directory) < std::filesystem::path(b.directory);
  });
  std::vector<Written> kept;
  for (Written& place : places) {
    // '/' cannot be allowed as a whole: it holds nothing together.
    const bool is_inside = !kept.empty() && kept.back().directory != "/" &&
                           is_at_or_below(place.directory, kept.back().directory);
    if (is_inside) {
      add(place, kept.back());
    } else {
      kept.push_back(std::move(place));
    }
  }
  return kept;
}

}  // namespace sluice::launcher
