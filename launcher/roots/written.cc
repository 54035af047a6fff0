#include "launcher/roots/written.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "base/fd.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/roots/upper_layer.h"

namespace sluice::launcher {
namespace {

class Account {
 public:
  // Of `owner` is what belongs to the agent itself; `most` entries are looked at.
  Account(uid_t owner, std::size_t most, WrittenTree& tree)
      : owner_(owner), most_(most), tree_(tree) {}

  // `below` is the root's directory at `path`, which `directory` was laid upon.
  Result<void> look(Fd directory, int below, const std::string& path) {
    Written here{.directory = path.empty() ? "/" : path};
    const std::size_t known = tree_.places.size();
    auto done = visit(
        std::move(directory), [&](int at, const std::string& name, const struct stat& status) {
          const Entry entry{at, below, name, path, status};
          return S_ISDIR(status.st_mode) ? look_below(entry, here) : look_at(entry, here);
        });
    if (!done) return done;
    // Where nothing is left there was something for a time, or its own mode or owner was changed.
    const bool is_empty = here.entries == 0 && here.deletions == 0;
    const bool is_told = tree_.places.size() != known || path.empty() || !tree_.unseen.empty();
    if (is_empty && is_told) return {};
    tree_.places.push_back(std::move(here));
    return {};
  }

  // After all was looked at.
  void close() {
    keep_largest(made_, tree_.untold);
    for (Written& one : made_) tree_.places.push_back(std::move(one));
  }

 private:
  struct Entry {
    int directory;
    int below;
    const std::string& name;
    const std::string& path;  // of the directory
    const struct stat& status;
  };

  template <class Look>
  Result<void> visit(Fd directory, const Look& look) {
    return visit_entries(std::move(directory), [&](int at, const std::string& name) {
      if (seen_ == most_) {
        miss(fmt::format("it is more than {} files and directories", most_));
        return Result<bool>(false);
      }
      ++seen_;
      struct stat status {};
      if (::fstatat(at, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return Result<bool>(fail_errno(Errc::unavailable, text::printable(name)));
      }
      return look(at, name, status).map([] { return true; });
    });
  }

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
    if (!may_go_deeper()) return {};
    make_readable(entry.directory, entry.name, entry.status);
    auto directory = open_directory_of(entry.directory, entry.name);
    if (!directory) return Failure(directory.error());
    const std::string path = entry.path + "/" + entry.name;
    constexpr int only_to_look_in = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const Fd below(::openat(entry.below, entry.name.c_str(), only_to_look_in));
    if (below && !is_opaque(directory->get())) {
      ++depth_;
      auto done = look(std::move(*directory), below.get(), path);
      --depth_;
      return done;
    }
    struct stat status {};
    const bool is_there =
        ::fstatat(entry.below, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there) ++here.deletions;
    here.is_all_new &= !is_there;
    // A directory beside /usr and /etc, that is.
    if (!entry.path.empty() || is_there) return count_below(entry, std::move(*directory), here);
    Written made{.directory = path, .is_missing = true};
    auto done = count_below(entry, std::move(*directory), made);
    if (done) add_made(std::move(made));
    return done;
  }

  // None lies in another, so that the smallest stay the smallest.
  void add_made(Written made) {
    made_.push_back(std::move(made));
    if (made_.size() > 2 * most_places_told) keep_largest(made_, tree_.untold);
  }

  // Everything in a directory that the root does not have, and itself.
  Result<void> count_below(const Entry& entry, Fd directory, Written& into) {
    count(entry.status, into);
    note_owner(entry.status);
    return count_all(std::move(directory), into);
  }

  Result<void> count_all(Fd directory, Written& into) {
    return visit(std::move(directory),
                 [&](int at, const std::string& name, const struct stat& status) -> Result<void> {
                   if (is_whiteout(status)) return {};
                   count(status, into);
                   note_owner(status);
                   if (!S_ISDIR(status.st_mode) || !may_go_deeper()) return {};
                   make_readable(at, name, status);
                   auto inner = open_directory_of(at, name);
                   if (!inner) return Failure(inner.error());
                   ++depth_;
                   auto done = count_all(std::move(*inner), into);
                   --depth_;
                   return done;
                 });
  }

  bool may_go_deeper() {
    if (depth_ < deepest_change) return true;
    miss(fmt::format("it is more than {} directories deep", deepest_change));
    return false;
  }

  // The first reason stays.
  void miss(std::string why) {
    if (tree_.unseen.empty()) tree_.unseen = std::move(why);
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
  std::size_t most_;
  WrittenTree& tree_;
  std::vector<Written> made_;  // beside /usr and /etc
  std::set<ino_t> names_;      // of files with several
  std::size_t seen_ = 0;
  std::size_t depth_ = 0;
};

void add(const Written& more, Written& into) {
  into.files += more.files;
  into.bytes += more.bytes;
  into.deletions += more.deletions;
  into.entries += more.entries;
  into.is_all_new &= more.is_all_new;
}

// By component, so that a directory comes right before what is in it.
bool comes_before(const Written& a, const Written& b) {
  constexpr auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c); };
  return std::lexicographical_compare(a.directory.begin(), a.directory.end(), b.directory.begin(),
                                      b.directory.end(),
                                      [=](char x, char y) { return rank(x) < rank(y); });
}

bool is_larger(const Written& a, const Written& b) {
  return std::tie(b.bytes, b.entries, b.deletions, a.directory) <
         std::tie(a.bytes, a.entries, a.deletions, b.directory);
}

}  // namespace

Result<WrittenTree> look_at_written(int changes, const Root& root,
                                    const std::vector<std::string>& files, std::size_t most) {
  const auto below = open_directory_of(AT_FDCWD, root.source);
  if (!below) return Failure(below.error());
  auto top = open_directory_of(changes, ".");
  if (!top) return Failure(top.error());
  struct stat status {};
  if (::fstat(changes, &status) != 0) return fail_errno(Errc::bug, "fstat");
  WrittenTree tree;
  Account account(status.st_uid, most, tree);
  if (auto done = account.look(std::move(*top), below->get(), ""); !done) {
    return Failure(done.error());
  }
  account.close();
  for (const std::string& file : files) {
    if (::fstatat(changes, file.c_str() + 1, &status, AT_SYMLINK_NOFOLLOW) == 0) {
      tree.files.push_back(file);
    }
  }
  tree.places = without_nested(std::move(tree.places));
  return tree;
}

std::vector<Written> without_nested(std::vector<Written> places) {
  std::sort(places.begin(), places.end(), comes_before);
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

void keep_largest(std::vector<Written>& places, Untold& untold) {
  std::sort(places.begin(), places.end(), is_larger);
  for (; places.size() > most_places_told; places.pop_back()) {
    const Written& smallest = places.back();
    ++untold.places;
    untold.files += smallest.files;
    untold.bytes += smallest.bytes;
    untold.deletions += smallest.deletions;
  }
}

}  // namespace sluice::launcher
