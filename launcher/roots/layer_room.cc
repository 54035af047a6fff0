#include "launcher/roots/layer_room.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/text.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t block = 512;  // of st_blocks (stat(3type))

class Measure {
 public:
  explicit Measure(std::uint64_t bytes) : bytes_(bytes) {}

  // Takes the descriptor.
  void look(Fd directory, int depth) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(directory.get()), &::closedir);
    use_.is_whole &= stream != nullptr;
    if (!stream) return;
    (void)directory.release();
    const int fd = ::dirfd(stream.get());
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view name = entry->d_name;
      struct stat status {};
      if (name == "." || name == ".." ||
          ::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        continue;
      }
      count(status);
      if (is_over()) return;
      if (S_ISDIR(status.st_mode)) look_below(fd, entry->d_name, depth);
    }
  }

  const LayerUse& use() const noexcept { return use_; }

 private:
  void look_below(int directory, const char* name, int depth) {
    Fd below(::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    const bool has_gone = !below && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP);
    if (has_gone) return;
    use_.is_whole &= below && depth < deepest_watched;
    if (use_.is_whole) look(std::move(below), depth + 1);
  }

  void count(const struct stat& status) {
    ++use_.entries;
    const bool has_names = !S_ISDIR(status.st_mode) && status.st_nlink > 1;
    if (has_names && !names_.insert(status.st_ino).second) return;
    use_.bytes += static_cast<std::uint64_t>(status.st_blocks) * block;
  }

  bool is_over() const { return !use_.is_whole || !over_cap(use_, bytes_).empty(); }

  std::uint64_t bytes_;
  LayerUse use_;
  std::set<ino_t> names_;  // of files with several
};

}  // namespace

Result<LayerUse> measure_layer(int upper, std::uint64_t bytes) {
  Fd copy(::openat(upper, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!copy) return fail_errno(Errc::unavailable, "cannot look at the overlay's layer");
  Measure measure(bytes);
  measure.look(std::move(copy), 1);
  return measure.use();
}

Result<FileSystemRoom> room_of(int directory) {
  struct statvfs status {};
  if (::fstatvfs(directory, &status) != 0) {
    return fail_errno(Errc::unavailable, "cannot look at the overlay's file system");
  }
  FileSystemRoom room{.bytes = std::uint64_t{status.f_bavail} * status.f_frsize,
                      .inodes = std::numeric_limits<std::uint64_t>::max()};
  if (status.f_files != 0) room.inodes = status.f_favail;
  return room;
}

std::string over_cap(const LayerUse& use, std::uint64_t bytes) {
  if (use.bytes > bytes) {
    return fmt::format("the agent was ended: the overlay holds more than its cap of {} MiB",
                       bytes >> 20U);
  }
  if (const std::uint64_t entries = inodes_of(bytes); use.entries > entries) {
    return fmt::format(
        "the agent was ended: the overlay holds more than the {} files and directories of its cap",
        entries);
  }
  if (use.is_whole) return {};
  return fmt::format(
      "the agent was ended: the overlay has directories that cannot be watched, more than {} deep "
      "or "
      "more than may be open",
      deepest_watched);
}

std::string without_room(const FileSystemRoom& room) {
  if (room.bytes < least_free_bytes) {
    return fmt::format("the overlay's file system has {} MiB left, and {} are kept free",
                       room.bytes >> 20U, least_free_bytes >> 20U);
  }
  if (room.inodes >= least_free_inodes) return {};
  return fmt::format("the overlay's file system has {} inodes left, and {} are kept free",
                     room.inodes, least_free_inodes);
}

Result<void> expect_room(int directory, const std::string& path) {
  const auto room = room_of(directory);
  if (!room) return Failure(room.error());
  const std::string lacking = without_room(*room);
  if (lacking.empty()) return {};
  return fail(Errc::unavailable, fmt::format("'{}': {}", text::printable(path), lacking),
              "make room there, or let XDG_STATE_HOME name a directory on another file system");
}

}  // namespace sluice::launcher
