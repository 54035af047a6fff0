#include "launcher/sandbox/seed_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/fd.h"
#include "base/text.h"
#include "launcher/sandbox/left_out.h"
#include "launcher/sandbox/tmpfs_need.h"

namespace sluice::launcher {
namespace {

constexpr int deepest = 100;
constexpr std::uint64_t most_counted = 1'000'000;  // entries, once the target is full

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

// `name` is one entry of `directory`; a link, and what another mount shows, is not opened.
Fd open_entry(int directory, const char* name, int flags) {
  open_how how{};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, directory, name, &how, sizeof(how))));
}

Directory read_directory(Fd directory) {
  if (!directory) return {nullptr, &::closedir};  // errno is open_entry()'s
  Directory entries(::fdopendir(directory.get()), &::closedir);
  if (entries) (void)directory.release();
  return entries;
}

const char* special_kind(mode_t mode) {
  if (S_ISFIFO(mode)) return "a FIFO";
  return S_ISSOCK(mode) ? "a socket" : "a device";
}

const char* why(int error_number) {
  return error_number == EXDEV ? "another mount" : std::strerror(error_number);
}

bool contains(const std::vector<std::string>& sorted, const std::string& name) {
  return std::binary_search(sorted.begin(), sorted.end(), name);
}

struct Entry {
  int source;  // the directory it is in
  int target;  // -1 once the target is full
  const char* name;
  std::string path;  // relative to the seed
  struct stat status;
  int depth;
};

class Copier {
 public:
  explicit Copier(const Mount& seed) : seed_(seed), left_out_(seed.path) {}

  Result<void> copy_all(int source, int target) {
    struct stat status {};
    if (::fstat(source, &status) != 0) return fail_errno(Errc::bug, "fstat");
    Directory entries = read_directory(open_entry(source, ".", O_RDONLY | O_DIRECTORY));
    if (!entries) {
      return fail_errno(
          Errc::not_permitted,
          fmt::format("the agent may not read '{}'", text::printable(seed_.source)),
          "root's agent is an ordinary user: make it readable, or run sluice as its owner");
    }
    if (auto done = copy_entries(*entries, target, "", 0); !done) return done;
    if (full_) return too_large();
    return finish(target, status);
  }

  std::string notice() const { return left_out_.sentence(); }

 private:
  Result<void> copy_entries(DIR& entries, int target, const std::string& path, int depth) {
    for (;;) {
      errno = 0;
      const dirent* const entry = ::readdir(&entries);
      if (entry == nullptr && errno != 0) left_out_.add(path, why(errno));
      if (entry == nullptr || (full_ && need_.entries() > most_counted)) return {};
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      Entry found{::dirfd(&entries), target, entry->d_name, path, {}, depth};
      found.path += path.empty() ? name : fmt::format("/{}", name);
      if (auto done = copy(found); !done) return done;
    }
  }

  Result<void> copy(Entry& entry) {
    if (contains(seed_.without, entry.path)) return {};
    if (::fstatat(entry.source, entry.name, &entry.status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) left_out_.add(entry.path, why(errno));
      return {};
    }
    switch (entry.status.st_mode & S_IFMT) {
      case S_IFREG:
        // The mount point of a bind is made when it is mounted.
        return contains(seed_.mounted, entry.path) ? Result<void>{} : copy_file(entry);
      case S_IFDIR:
        return copy_directory(entry);
      case S_IFLNK:
        return copy_link(entry);
      default:
        left_out_.add(entry.path, special_kind(entry.status.st_mode));
        return {};
    }
  }

  Result<void> copy_directory(const Entry& entry) {
    Directory entries(nullptr, &::closedir);
    if (!contains(seed_.mounted, entry.path)) {
      if (entry.depth == deepest) {
        left_out_.add(entry.path, "nested too deeply");
        return {};
      }
      entries = read_directory(open_entry(entry.source, entry.name, O_RDONLY | O_DIRECTORY));
      if (!entries) {
        left_out_.add(entry.path, why(errno));
        return {};
      }
    }
    need_.add_entry();
    Fd target;
    if (!full_ && ::mkdirat(entry.target, entry.name, 0700) == 0)
      target = open_entry(entry.target, entry.name, O_RDONLY | O_DIRECTORY);
    if (!full_ && !target) {
      if (auto full = only_when_full(entry.path); !full) return full;
    }
    if (entries) {
      auto done = copy_entries(*entries, target.get(), entry.path, entry.depth + 1);
      if (!done) return done;
    }
    return target ? finish(target.get(), entry.status) : Result<void>{};
  }

  Result<void> copy_link(const Entry& entry) {
    std::array<char, PATH_MAX> to{};
    const ssize_t size = ::readlinkat(entry.source, entry.name, to.data(), to.size() - 1);
    if (size <= 0) {
      left_out_.add(entry.path, why(errno));
      return {};
    }
    need_.add_link(static_cast<std::uint64_t>(size));
    if (full_) return {};
    if (::symlinkat(to.data(), entry.target, entry.name) != 0) return only_when_full(entry.path);
    const timespec times[] = {entry.status.st_mtim, entry.status.st_mtim};
    if (::utimensat(entry.target, entry.name, times, AT_SYMLINK_NOFOLLOW) == 0) return {};
    return only_when_full(entry.path);
  }

  Result<void> copy_file(const Entry& entry) {
    const Fd source = open_entry(entry.source, entry.name, O_RDONLY);
    struct stat status {};
    if (!source || ::fstat(source.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
      left_out_.add(entry.path, source ? "it changed meanwhile" : why(errno));
      return {};
    }
    need_.add_entry();
    Fd target;
    if (!full_) {
      constexpr int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
      target.reset(::openat(entry.target, entry.name, flags, 0600));
      if (!target) {
        if (auto full = only_when_full(entry.path); !full) return full;
      }
    }
    if (auto done = copy_data(entry, source.get(), target.get(), status); !done) return done;
    if (full_ || !target) return {};
    if (::ftruncate(target.get(), status.st_size) != 0) return only_when_full(entry.path);
    return finish(target.get(), status);
  }

  // Range by range; what is no data stays a hole (lseek(2)).
  Result<void> copy_data(const Entry& entry, int source, int target, const struct stat& status) {
    bool has_holes = status.st_blocks * 512 < status.st_size;
    for (off_t end = 0; end < status.st_size;) {
      off_t begin = has_holes ? ::lseek(source, end, SEEK_DATA) : end;
      if (begin < 0 && errno == ENXIO) return {};  // a hole up to the end
      has_holes &= begin >= 0;
      begin = std::max(begin, end);
      end = has_holes ? ::lseek(source, begin, SEEK_HOLE) : status.st_size;
      if (end <= begin) return {};
      need_.add_data(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end));
      if (full_) continue;
      if (auto done = transfer(entry, source, target, {begin, end}); !done) return done;
    }
    return {};
  }

  struct Range {
    off_t begin;
    off_t end;
  };

  Result<void> transfer(const Entry& entry, int source, int target, Range range) {
    if (::lseek(target, range.begin, SEEK_SET) < 0) return fail_errno(Errc::bug, "lseek");
    while (range.begin < range.end) {
      const auto left = static_cast<std::size_t>(range.end - range.begin);
      const ssize_t sent = ::sendfile(target, source, &range.begin, left);
      if (sent > 0) continue;
      if (sent == 0) return {};  // it was cut meanwhile
      if (errno == EINTR) continue;
      return only_when_full(entry.path);
    }
    return {};
  }

  // Permission bits and time; after the content, which a closed directory would not take.
  Result<void> finish(int target, const struct stat& status) {
    const mode_t kept = S_ISDIR(status.st_mode) ? 01777 : 0777;
    const timespec times[] = {status.st_mtim, status.st_mtim};
    if (::fchmod(target, status.st_mode & kept) == 0 && ::futimens(target, times) == 0) return {};
    return fail_errno(Errc::unavailable, "cannot set a copy's mode and time");
  }

  // After a call failed: a full target is remembered, and what it lacks is counted from here on.
  Result<void> only_when_full(const std::string& path) {
    full_ = errno == ENOSPC;
    if (full_) return {};
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot copy '{}' of the seed '{}'", text::printable(path),
                                  text::printable(seed_.path)));
  }

  Result<void> too_large() const {
    const bool counted_all = need_.entries() <= most_counted;
    return fail(
        Errc::bad_config,
        fmt::format("the seed '{}' needs {}{} bytes, and may have {}", text::printable(seed_.path),
                    counted_all ? "" : "more than ", need_.bytes(), seed_.bytes),
        fmt::format("give it room to write as well: --seed {}:{}MiB", text::printable(seed_.path),
                    need_.mebibytes_with_room()));
  }

  const Mount& seed_;
  LeftOut left_out_;
  TmpfsNeed need_;
  bool full_ = false;
};

}  // namespace

Result<std::string> copy_seed(const Mount& seed, int source, int target) {
  const Fd writable = open_entry(target, ".", O_RDONLY | O_DIRECTORY);
  if (!writable) return fail_errno(Errc::unavailable, "cannot open a seed's tmpfs");
  Copier copier(seed);
  if (auto done = copier.copy_all(source, writable.get()); !done) return Failure(done.error());
  return copier.notice();
}

}  // namespace sluice::launcher
