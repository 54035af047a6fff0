#include "launcher/roots/remove_tree.h"

#include <fmt/core.h>
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/text.h"
#include "launcher/roots/as_owner.h"

namespace sluice::launcher {

Result<void> remove_tree(const std::string& path) {
  std::string root = path;
  char* const roots[] = {root.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> walk(
      ::fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr), &::fts_close);
  if (!walk) return fail_errno(Errc::unavailable, text::printable(path));
  errno = 0;
  while (const FTSENT* entry = ::fts_read(walk.get())) {
    int result = 0;
    if (entry->fts_info == FTS_D) {
      result = ::chmod(entry->fts_path, 0700);  // before it is read
    } else if (entry->fts_info == FTS_DP) {
      result = ::rmdir(entry->fts_path);
    } else if (entry->fts_info == FTS_NS && entry->fts_errno == ENOENT) {
      result = 0;
    } else {
      result = ::unlink(entry->fts_path);
    }
    if (result != 0) {
      return fail_errno(Errc::unavailable,
                        fmt::format("cannot remove '{}'", text::printable(entry->fts_path)));
    }
    errno = 0;
  }
  if (errno != 0) return fail_errno(Errc::unavailable, text::printable(path));
  return {};
}

Result<void> remove_root(const std::string& path) {
  auto removed = remove_tree(path);
  const auto ids = removed ? std::nullopt : find_sub_ids();
  if (!ids) return removed;
  return as_owner(*ids, [&] { return remove_tree(path).map([] { return std::string(); }); })
      .map([](const std::string&) {});
}

}  // namespace sluice::launcher
