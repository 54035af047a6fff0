#include "launcher/sandbox/set_id_files.h"

#include <fmt/core.h>
#include <fts.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>

#include "base/text.h"

namespace sluice::launcher {
namespace {

bool is_set_id(const struct stat& status) {
  if (!S_ISREG(status.st_mode)) return false;
  return (status.st_mode & S_ISUID) != 0 ||
         ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0);
}

}  // namespace

Result<void> refuse_set_id_files(int directory, const std::string& name) {
  const std::string handle = fmt::format("/proc/self/fd/{}", directory);
  std::string root =
      handle + "/";  // the slash follows the magic link, and none below it is followed
  struct stat status {};
  if (::fstat(directory, &status) != 0) return fail_errno(Errc::bug, "fstat");
  if (!S_ISDIR(status.st_mode)) root = handle;
  char* const roots[] = {root.data(), nullptr};
  const int options =
      FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR | (S_ISDIR(status.st_mode) ? 0 : FTS_COMFOLLOW);
  const std::unique_ptr<FTS, int (*)(FTS*)> walk(::fts_open(roots, options, nullptr), &::fts_close);
  if (!walk)
    return fail_errno(Errc::unavailable, fmt::format("cannot walk '{}'", text::printable(name)));
  errno = 0;
  while (const FTSENT* entry = ::fts_read(walk.get())) {
    if (entry->fts_info != FTS_F || !is_set_id(*entry->fts_statp)) continue;
    const std::string below =
        std::string(entry->fts_path).substr(std::min(root.size(), std::size_t{entry->fts_pathlen}));
    return fail(
        Errc::bad_config,
        fmt::format("'{}' is setuid or setgid, and an agent could change what it runs",
                    text::printable(below.empty() ? name : fmt::format("{}/{}", name, below))),
        "remove that bit (chmod ug-s), or keep the file out of the workspace");
  }
  if (errno != 0)
    return fail_errno(Errc::unavailable, fmt::format("cannot walk '{}'", text::printable(name)));
  return {};
}

}  // namespace sluice::launcher
