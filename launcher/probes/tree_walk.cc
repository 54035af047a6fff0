#include "launcher/probes/tree_walk.h"

#include <memory>

namespace sluice::launcher::probes {

std::size_t walk(const std::string& directory, const Reach& reach,
                 const std::function<bool(const FTSENT&)>& look) {
  std::string root = directory;
  char* const roots[] = {root.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> tree(
      ::fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, nullptr), &::fts_close);
  if (!tree) return 0;
  std::size_t count = 0;
  while (count < reach.most) {
    FTSENT* const entry = ::fts_read(tree.get());
    if (entry == nullptr) break;
    if (entry->fts_info == FTS_DP) continue;
    ++count;
    if (entry->fts_level >= reach.deepest) ::fts_set(tree.get(), entry, FTS_SKIP);
    if (!look(*entry)) break;
  }
  return count;
}

}  // namespace sluice::launcher::probes
