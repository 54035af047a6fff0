#include "launcher/roots/changes.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <type_traits>

#include "base/io.h"
#include "base/text.h"
#include "launcher/roots/as_owner.h"
#include "launcher/roots/upper_layer.h"

namespace sluice::launcher {
namespace {

constexpr const char* list_name = "changes.txt";

std::string shown(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

// Holes stay holes: a file's size says nothing about what it holds. false with errno.
bool copy_data(int source, int target) {
  for (off_t at = 0;;) {
    const off_t begin = ::lseek(source, at, SEEK_DATA);
    if (begin < 0) return errno == ENXIO;  // no more of it
    const off_t end = ::lseek(source, begin, SEEK_HOLE);
    if (end < 0 || ::lseek(target, begin, SEEK_SET) < 0) return false;
    for (at = begin; at < end;) {
      const ssize_t sent = ::sendfile(target, source, &at, static_cast<std::size_t>(end - at));
      if (sent == 0) return true;
      if (sent < 0 && errno != EINTR) return false;
    }
  }
}

class Copier {
 public:
  // `files`: where it copies to; `list`: where it tells of it.
  Copier(int files, int list) : files_(files), list_(list) {}

  Result<void> copy_directory(int from, int to, const std::string& path) {
    const auto names = entries_of(from);
    if (!names) return Failure(names.error());
    for (const std::string& name : *names) {
      if (auto done = copy(from, to, name, fmt::format("{}/{}", path, name)); !done) return done;
    }
    return {};
  }

  const KeptChanges& kept() const noexcept { return kept_; }

 private:
  Result<void> copy(int from, int to, const std::string& name, const std::string& path) {
    struct stat status {};
    if (::fstatat(from, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno(Errc::unavailable, shown(path));
    }
    if (S_ISDIR(status.st_mode)) return copy_below(from, to, name, path, status);
    if (S_ISREG(status.st_mode)) return copy_file(from, to, name, path, status);
    if (S_ISLNK(status.st_mode)) return copy_link(from, to, name, path);
    if (is_whiteout(status)) {
      ++kept_.deletions;
      return tell("deleted", path);
    }
    return tell("left out", path + " (a socket, FIFO or device)");
  }

  Result<void> copy_below(int from, int to, const std::string& name, const std::string& path,
                          const struct stat& status) {
    if (depth_ == deepest_change) return tell("left out", path + " (too deep)");
    make_readable(from, name, status);
    const auto source = open_directory_of(from, name);
    if (!source) return Failure(source.error());
    if (::mkdirat(to, name.c_str(), 0700) != 0) return fail_errno(Errc::unavailable, shown(path));
    const auto target = open_directory_of(to, name);
    if (!target) return Failure(target.error());
    if (auto told = tell(is_opaque(source->get()) ? "replaced" : "directory", path); !told) {
      return told;
    }
    ++depth_;
    auto done = copy_directory(source->get(), target->get(), path);
    --depth_;
    return done;
  }

  Result<void> copy_file(int from, int to, const std::string& name, const std::string& path,
                         const struct stat& status) {
    make_readable(from, name, status);
    // One more name costs no more than one: an agent can make thousands.
    if (const auto first = names_.find(status.st_ino); first != names_.end()) {
      if (::linkat(files_, first->second.c_str(), to, name.c_str(), 0) != 0) {
        return tell("left out", path + " (another name of a file)");
      }
      return tell("link", path + " = /" + first->second);
    }
    const Fd source(::openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    const mode_t mode = (status.st_mode & 0777) | 0600;
    const Fd target(
        ::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    if (!source || !target) return fail_errno(Errc::unavailable, shown(path));
    if (::ftruncate(target.get(), status.st_size) != 0) {
      return tell("left out", path + " (too large)");
    }
    if (!copy_data(source.get(), target.get())) {
      return fail_errno(Errc::unavailable, "cannot copy " + shown(path));
    }
    if (status.st_nlink > 1) names_.emplace(status.st_ino, path.substr(1));
    ++kept_.files;
    kept_.bytes += static_cast<std::uint64_t>(status.st_size);
    return tell(fmt::format("{} bytes", status.st_size), path);
  }

  Result<void> copy_link(int from, int to, const std::string& name, const std::string& path) {
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlinkat(from, name.c_str(), target.data(), target.size() - 1);
    if (size < 0 || ::symlinkat(target.data(), to, name.c_str()) != 0) {
      return fail_errno(Errc::unavailable, shown(path));
    }
    return tell("link", path + " -> " + target.data());
  }

  Result<void> tell(std::string_view what, const std::string& path) {
    return write_all(list_, list_name, fmt::format("{:<18} {}\n", what, text::printable(path)));
  }

  int files_;
  int list_;
  std::map<ino_t, std::string> names_;  // of files with several: the copy, relative to files_
  std::size_t depth_ = 0;
  KeptChanges kept_;
};

Result<KeptChanges> copy_changes(int changes, int directory) {
  if (::mkdirat(directory, "files", 0700) != 0) return fail_errno(Errc::unavailable, "files");
  const auto files = open_directory_of(directory, "files");
  if (!files) return Failure(files.error());
  const Fd list(
      ::openat(directory, list_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!list) return fail_errno(Errc::unavailable, list_name);
  Copier copier(files->get(), list.get());
  if (auto done = copier.copy_directory(changes, files->get(), ""); !done) {
    return Failure(done.error());
  }
  return copier.kept();
}

}  // namespace

Result<Fd> open_for_changes(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_errno(Errc::bad_config, "cannot make " + shown(path),
                      "name a directory for --keep-changes that can be made");
  }
  auto directory = open_directory_of(AT_FDCWD, path);
  if (!directory) return directory;
  const auto names = entries_of(directory->get());
  if (!names) return Failure(names.error());
  if (names->empty()) return directory;
  return fail(Errc::bad_config, fmt::format("the directory {} is not empty", shown(path)),
              "name a new one for --keep-changes, or move away what an earlier run left");
}

Result<KeptChanges> keep_changes(int changes, int directory, const std::optional<SubIds>& ids) {
  if (!ids) return copy_changes(changes, directory);
  static_assert(std::is_trivially_copyable_v<KeptChanges>);
  const auto bytes = as_owner(*ids, [&]() -> Result<std::string> {
    return copy_changes(changes, directory).map([](const KeptChanges& kept) {
      return std::string(reinterpret_cast<const char*>(&kept), sizeof(kept));
    });
  });
  if (!bytes) return Failure(bytes.error());
  KeptChanges kept;
  if (bytes->size() != sizeof(kept)) return fail(Errc::bug, "the changes were not counted");
  bytes->copy(reinterpret_cast<char*>(&kept), sizeof(kept));
  return kept;
}

}  // namespace sluice::launcher
