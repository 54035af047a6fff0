#include "launcher/protection/identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

namespace sluice::launcher {
namespace {

constexpr std::size_t most_entries = 2'000;

std::int64_t changed_at(const struct stat& status) {
  return status.st_ctim.tv_sec * 1'000'000'000 + status.st_ctim.tv_nsec;
}

std::int64_t latest_change(const std::string& folder) {
  std::int64_t latest = 0;
  std::error_code error;
  std::size_t seen = 0;
  using Walk = std::filesystem::recursive_directory_iterator;
  for (auto at = Walk(folder, error); !error && at != Walk() && seen < most_entries;
       at.increment(error), ++seen) {
    struct stat status {};
    if (::lstat(at->path().c_str(), &status) == 0) latest = std::max(latest, changed_at(status));
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
