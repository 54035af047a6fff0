#include "launcher/top_levels.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string_view>

#include "base/fd.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_entries = 20'000;

using Kind = TopEntry::Kind;
using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;

Directory open_directory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  Directory directory(fd ? ::fdopendir(fd.get()) : nullptr, &::closedir);
  if (directory) (void)fd.release();
  return directory;
}

// DT_UNKNOWN where the file system does not tell (readdir(3)).
unsigned char type_of(const Directory& directory, const dirent& entry) {
  if (entry.d_type != DT_UNKNOWN) return entry.d_type;
  struct stat status {};
  if (::fstatat(::dirfd(directory.get()), entry.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
    return DT_UNKNOWN;
  return static_cast<unsigned char>(IFTODT(status.st_mode));
}

std::optional<Kind> kind_of(unsigned char type) {
  switch (type) {
    case DT_REG:
      return Kind::file;
    case DT_DIR:
      return Kind::directory;
    case DT_LNK:
      return Kind::link;
    case DT_FIFO:
      return Kind::fifo;
    case DT_SOCK:
      return Kind::socket;
    case DT_CHR:
    case DT_BLK:
      return Kind::device;
    default:
      return std::nullopt;
  }
}

void read_level(const std::string& root, const std::string& below, int depth, TopLevels& found) {
  const Directory directory = open_directory(below.empty() ? root : root + "/" + below);
  if (!directory) return;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (found.entries.size() == most_entries) {
      found.is_whole = false;
      return;
    }
    const auto kind = kind_of(type_of(directory, *entry));
    if (!kind) continue;
    const std::string path = below.empty() ? std::string(name) : below + "/" + std::string(name);
    found.entries.push_back({path, *kind, depth});
  }
}

bool is_passed_over(const std::string& path) {
  const std::string_view name = std::string_view(path).substr(path.rfind('/') + 1);
  return name == ".git" || name == "node_modules";
}

}  // namespace

TopLevels look_at_top_levels(const std::string& directory, int levels) {
  TopLevels found;
  read_level(directory, "", 0, found);
  for (std::size_t i = 0; i < found.entries.size() && found.is_whole; ++i) {
    const TopEntry entry = found.entries[i];
    if (entry.kind != Kind::directory || entry.depth + 1 >= levels || is_passed_over(entry.path))
      continue;
    read_level(directory, entry.path, entry.depth + 1, found);
  }
  return found;
}

}  // namespace sluice::launcher
