#include "launcher/protection/placeholders.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>

#include "base/io.h"
#include "launcher/protection/journal.h"
#include "launcher/state_folder.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

constexpr const char* store_name = "placeholders";
constexpr const char* lock_name = "lock";
constexpr std::size_t largest_journal = std::size_t{64} * 1024 * 1024;
constexpr std::string_view own_place_text = ".\n";

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

std::string_view text_of(StandIn kind) {
  return kind == StandIn::own_place ? own_place_text : std::string_view();
}

// One at a time begins and ends: between looking at the journals and acting upon them nothing
// changes. Held for milliseconds.
Result<Fd> lock_store(int store) {
  Fd lock(::openat(store, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  while (lock && ::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(Errc::unavailable, "cannot lock the placeholders");
  }
  if (!lock) return fail_errno(Errc::unavailable, "cannot open the lock of the placeholders");
  return lock;
}

// A root caller acts as the owner of the directory, as which the agent writes there: it reaches and
// makes nothing that the owner could not (setfsuid(2), which cannot fail for root).
class AsOwner {
 public:
  explicit AsOwner(const struct stat& directory) : is_root_(::geteuid() == 0) {
    if (!is_root_) return;
    ::setfsgid(directory.st_gid);
    ::setfsuid(directory.st_uid);
  }
  AsOwner(const AsOwner&) = delete;
  AsOwner& operator=(const AsOwner&) = delete;
  ~AsOwner() {
    if (!is_root_) return;
    ::setfsuid(0);
    ::setfsgid(0);
  }

 private:
  bool is_root_;
};

struct Entry {
  Fd directory;
  std::string name;
  struct stat status {};  // of the directory
};

// Without a descriptor and with errno where the directory is not there.
Entry entry_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const std::string directory = path.substr(0, std::max<std::size_t>(slash, 1));
  Entry entry{
      Fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, directory.c_str(), &how, sizeof(how)))),
      path.substr(slash + 1),
      {}};
  if (entry.directory && ::fstat(entry.directory.get(), &entry.status) != 0) {
    entry.directory.reset();
  }
  return entry;
}

// 0 or an errno.
int make_in(const Entry& entry, StandIn kind) {
  if (kind == StandIn::directory) {
    return ::mkdirat(entry.directory.get(), entry.name.c_str(), 0755) == 0 ? 0 : errno;
  }
  constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const Fd file(::openat(entry.directory.get(), entry.name.c_str(), flags, 0644));
  if (!file) return errno;
  return write_all(file.get(), entry.name, text_of(kind)) ? 0 : EIO;
}

enum class Outcome : std::uint8_t { made, was_there, impossible };

Result<Outcome> make_one(Placeholder& placeholder) {
  const Entry entry = entry_of(placeholder.path);
  int error = entry.directory ? 0 : errno;
  if (error == 0) {
    const AsOwner as_owner(entry.status);
    error = make_in(entry, placeholder.kind);
  }
  if (error == EEXIST) return Outcome::was_there;
  struct stat made {};
  if (error == 0 &&
      ::fstatat(entry.directory.get(), entry.name.c_str(), &made, AT_SYMLINK_NOFOLLOW) == 0) {
    placeholder.device = made.st_dev;
    placeholder.inode = made.st_ino;
    return Outcome::made;
  }
  const bool another_users =
      error == EACCES && entry.directory && ::geteuid() != 0 && entry.status.st_uid != ::geteuid();
  if (another_users || error == EROFS || error == ENOENT || error == ENOTDIR) {
    return Outcome::impossible;
  }
  return Failure(errno_error(
      Errc::unavailable, fmt::format("cannot keep {} from being made", in_quotes(placeholder.path)),
      error == 0 ? ENOENT : error, "make the directory above it writable, or the file itself"));
}

bool is_untouched(const struct stat& found, const Placeholder& placeholder) {
  if (placeholder.state == Placeholder::State::not_ours) return false;
  const bool is_same = found.st_dev == placeholder.device && found.st_ino == placeholder.inode;
  if (placeholder.state == Placeholder::State::made && !is_same) return false;
  if (placeholder.kind == StandIn::directory) return S_ISDIR(found.st_mode);
  return S_ISREG(found.st_mode) && found.st_nlink == 1 &&
         found.st_size == static_cast<off_t>(text_of(placeholder.kind).size());
}

// A directory goes only while it is empty (rmdir(2)).
void remove_one(const Placeholder& placeholder) {
  const Entry entry = entry_of(placeholder.path);
  struct stat found {};
  if (!entry.directory ||
      ::fstatat(entry.directory.get(), entry.name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
    return;
  }
  if (!is_untouched(found, placeholder)) return;
  const AsOwner as_owner(entry.status);
  const int flags = placeholder.kind == StandIn::directory ? AT_REMOVEDIR : 0;
  (void)::unlinkat(entry.directory.get(), entry.name.c_str(), flags);
}

// Whether a live run may write there: by whatever name it knows the directory.
bool is_in_use(const std::string& path, const std::vector<FileId>& live) {
  for (std::size_t end = path.size(); end != std::string::npos && end != 0;
       end = path.rfind('/', end - 1)) {
    struct stat status {};
    if (::lstat(path.substr(0, end).c_str(), &status) != 0) continue;
    if (std::count(live.begin(), live.end(), FileId(status.st_dev, status.st_ino)) != 0) {
      return true;
    }
  }
  return false;
}

struct Kept {
  std::string name;
  Journal journal;
};

struct Journals {
  std::vector<FileId> live;  // what the agents of live runs may write to
  std::vector<Kept> dead;
};

Result<Journals> read_journals(int store) {
  Fd listing(::openat(store, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, CloseDirectory> entries(listing ? ::fdopendir(listing.release())
                                                             : nullptr);
  if (!entries) return fail_errno(Errc::unavailable, "cannot list the journals of placeholders");
  Journals journals;
  while (const dirent* const entry = ::readdir(entries.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == lock_name) continue;
    const Fd file(::openat(store, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!file) continue;
    const bool is_live = ::flock(file.get(), LOCK_EX | LOCK_NB) != 0;
    const auto bytes = read_fd(file.get(), name, largest_journal);
    auto journal = bytes ? decode_journal(*bytes) : std::nullopt;
    if (!journal) {
      return fail(Errc::unavailable,
                  fmt::format("the journal of placeholders {} is damaged", in_quotes(name)),
                  "remove it, and the empty placeholders that a run left");
    }
    auto& sources = journals.live;
    if (is_live) sources.insert(sources.end(), journal->sources.begin(), journal->sources.end());
    if (!is_live) journals.dead.push_back({name, std::move(*journal)});
  }
  return journals;
}

// The store is locked. Children come before their parents.
Result<void> sweep(int store) {
  const auto journals = read_journals(store);
  if (!journals) return Failure(journals.error());
  for (const Kept& kept : journals->dead) {
    bool is_done = true;
    const auto& all = kept.journal.placeholders;
    for (auto at = all.rbegin(); at != all.rend(); ++at) {
      const bool in_use = is_in_use(at->first, journals->live);
      if (!in_use) remove_one(at->second);
      is_done = is_done && !in_use;
    }
    if (is_done) ::unlinkat(store, kept.name.c_str(), 0);
  }
  return {};
}

Result<Fd> new_journal(int store, const std::string& name) {
  constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
  Fd file(::openat(store, name.c_str(), flags, 0600));
  if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail_errno(Errc::unavailable, "cannot make a journal of placeholders");
  }
  return file;
}

std::string encode_all(const std::vector<std::string>& sources) {
  std::string text;
  for (const std::string& source : sources) {
    struct stat status {};
    if (::stat(source.c_str(), &status) == 0) {
      text += encode_source({status.st_dev, status.st_ino});
    }
  }
  return text;
}

}  // namespace

Result<Placeholders> Placeholders::begin(const std::string& state_directory,
                                         const std::vector<std::string>& sources) {
  auto store = open_state_folder(state_directory, store_name, MakeFolder::yes);
  if (!store) return Failure(store.error());
  const auto lock = lock_store(store->get());
  if (!lock) return Failure(lock.error());
  if (auto swept = sweep(store->get()); !swept) return Failure(swept.error());
  const std::string name = fmt::format("{}-{:08x}", ::getpid(), std::random_device{}());
  auto journal = new_journal(store->get(), name);
  if (!journal) return Failure(journal.error());
  auto written = write_all(journal->get(), name, encode_all(sources));
  if (!written) return Failure(written.error());
  return Placeholders(std::move(*store), std::move(*journal));
}

Result<void> Placeholders::make(const std::vector<Wanted>& wanted) {
  const auto lock = lock_store(store_.get());
  if (!lock) return Failure(lock.error());
  // First the intent: what is made is known however this ends.
  std::string text;
  for (const Wanted& one : wanted) {
    text += encode({Placeholder::State::intended, one.kind, 0, 0, one.path});
  }
  if (auto written = write_all(journal_.get(), "the journal", text); !written) return written;
  Result<void> result;
  text.clear();
  for (const Wanted& one : wanted) {
    Placeholder placeholder{Placeholder::State::made, one.kind, 0, 0, one.path};
    const auto outcome = result ? make_one(placeholder) : Result<Outcome>(Outcome::impossible);
    if (!outcome) result = Failure(outcome.error());
    if (outcome && *outcome == Outcome::impossible) impossible_.push_back(one.path);
    if (!outcome || *outcome != Outcome::made) placeholder.state = Placeholder::State::not_ours;
    text += encode(placeholder);
  }
  auto written = write_all(journal_.get(), "the journal", text);
  return result ? written : result;
}

Placeholders::~Placeholders() {
  if (!store_) return;
  const auto lock = lock_store(store_.get());
  journal_.reset();  // from here on this run is one of the dead
  if (lock) (void)sweep(store_.get());
}

std::string placeholder_directory(const std::string& state_directory) {
  return fmt::format("{}/sluice/{}", state_directory, store_name);
}

}  // namespace sluice::launcher
