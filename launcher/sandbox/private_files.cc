#include "launcher/sandbox/private_files.h"

#include <fmt/core.h>
#include <fts.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/text.h"

namespace sluice::launcher {
namespace {

// Others are always new in a sandbox, or lead elsewhere.
constexpr std::array<std::string_view, 19> shown_of_root{
    "bin",  "etc",  "gnu", "home", "lib", "lib32", "lib64", "libx32", "nix", "opt",
    "proc", "root", "run", "sbin", "sys", "dev",   "tmp",   "usr",    "var"};
constexpr std::array<std::string_view, 5> shown_of_var{"cache", "lib", "lock", "run", "tmp"};
constexpr std::array<const char*, 5> searched{"/etc", "/opt", "/usr/local", "/var/cache",
                                              "/var/lib"};

Failure leads_elsewhere(std::string_view directory) {
  return fail(
      Errc::not_permitted,
      fmt::format("what the machine keeps private cannot be told: {} is no directory of its "
                  "root",
                  directory),
      "import a root instead: sluice root import NAME TAR|DIR, then --root NAME");
}

template <std::size_t n>
bool is_one_of(std::string_view name, const std::array<std::string_view, n>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

template <std::size_t n>
Result<void> hide_others(const std::string& root, const std::string& directory,
                         const std::array<std::string_view, n>& shown, OwnLayer& layer) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root + directory, error)) {
    const std::string name = entry.path().filename().string();
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0) {
      return fail_errno(Errc::unavailable, text::printable(entry.path().string()));
    }
    if (S_ISLNK(status.st_mode) || is_one_of(name, shown)) continue;
    if (auto hidden = layer.hide(fmt::format("{}/{}", directory, name), status); !hidden)
      return hidden;
  }
  if (!error) return {};
  return fail(Errc::unavailable, fmt::format("cannot read '{}': {}", directory, error.message()));
}

bool is_private(const struct stat& status) {
  if (S_ISLNK(status.st_mode)) return false;
  const mode_t needed = S_ISDIR(status.st_mode) ? S_IROTH | S_IXOTH : S_IROTH;
  return (status.st_mode & needed) != needed;
}

Result<void> hide_private(const std::string& root, const std::string& directory, OwnLayer& layer) {
  std::string top = root + directory;
  char* const tops[] = {top.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> walk(
      ::fts_open(tops, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr), &::fts_close);
  if (!walk) return fail_errno(Errc::unavailable, directory);
  errno = 0;
  while (FTSENT* entry = ::fts_read(walk.get())) {
    const bool is_gone = entry->fts_info == FTS_NS && entry->fts_errno == ENOENT;
    if (entry->fts_info == FTS_DP || is_gone) continue;
    if (entry->fts_info == FTS_NS || entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
      errno = entry->fts_errno;
      return fail_errno(Errc::unavailable, text::printable(entry->fts_path));
    }
    if (!is_private(*entry->fts_statp)) continue;
    const std::string path = std::string(entry->fts_path).substr(root.size());
    if (auto hidden = layer.hide(path, *entry->fts_statp); !hidden) return hidden;
    if (entry->fts_info == FTS_D) ::fts_set(walk.get(), entry, FTS_SKIP);
    errno = 0;
  }
  return errno == 0 ? Result<void>{} : fail_errno(Errc::unavailable, directory);
}

}  // namespace

bool is_always_hidden(const std::string& path) {
  const std::filesystem::path parts = std::filesystem::path(path).relative_path();
  auto part = parts.begin();
  if (part == parts.end()) return false;
  if (*part != "var") return !is_one_of(part->string(), shown_of_root);
  ++part;
  return part != parts.end() && !is_one_of(part->string(), shown_of_var);
}

Result<void> hide_private_files(const std::string& root, OwnLayer& layer) {
  struct stat var {};
  if (::lstat((root + "/var").c_str(), &var) != 0 || !S_ISDIR(var.st_mode)) {
    return leads_elsewhere("/var");
  }
  if (auto done = hide_others(root, "", shown_of_root, layer); !done) return done;
  if (auto done = hide_others(root, "/var", shown_of_var, layer); !done) return done;
  for (const char* directory : searched) {
    struct stat status {};
    if (::lstat((root + directory).c_str(), &status) != 0) continue;
    if (!S_ISDIR(status.st_mode)) return leads_elsewhere(directory);
    if (auto done = hide_private(root, directory, layer); !done) return done;
  }
  return {};
}

}  // namespace sluice::launcher
