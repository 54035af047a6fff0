#include "launcher/protection/identity.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string_view>

#include "base/fd.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_entries = 2'000;

std::int64_t changed_at(const struct stat& status) {
  return status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec;
}

using Stream = std::unique_ptr<DIR, int (*)(DIR*)>;

Stream open_stream(const std::string& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  Stream stream(fd ? ::fdopendir(fd.get()) : nullptr, &::closedir);
  if (stream) (void)fd.release();
  return stream;
}

// Not by std::filesystem: where there is no memory, its walks end the program (libstdc++ 12).
std::int64_t latest_change(const std::string& top) {
  std::int64_t latest = 0;
  std::size_t seen = 0;
  for (std::deque<std::string> waiting{top}; !waiting.empty(); waiting.pop_front()) {
    const std::string& folder = waiting.front();
    const Stream stream = open_stream(folder);
    for (const dirent* entry = nullptr; stream && (entry = ::readdir(stream.get())) != nullptr;) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (seen++ == most_entries) return latest;
      struct stat status {};
      // NOLINTNEXTLINE(clang-analyzer-unix.StdCLibraryFunctions): an open stream has one.
      if (::fstatat(::dirfd(stream.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        continue;
      }
      latest = std::max(latest, changed_at(status));
      if (S_ISDIR(status.st_mode)) waiting.push_back(folder + "/" + std::string(name));
    }
  }
  return latest;
}

}  // namespace

std::optional<Identity> identity_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return std::nullopt;
  Identity identity{status.st_dev, status.st_ino, 0};
  if (!S_ISDIR(status.st_mode)) identity.changed = changed_at(status);
  return identity;
}

std::optional<Identity> fingerprint_of(const std::string& path) {
  auto identity = identity_of(path);
  if (identity && identity->changed == 0) identity->changed = latest_change(path);
  return identity;
}

}  // namespace sluice::launcher
