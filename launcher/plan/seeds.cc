#include "launcher/plan/seeds.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/plan/masks.h"
#include "launcher/plan/refusals.h"

namespace sluice::launcher {
namespace {

std::string quoted(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

void add_below(const std::string& directory, const std::string& path,
               std::vector<std::string>& names) {
  if (path != directory && is_at_or_below(path, directory))
    names.push_back(path.substr(directory.size() + 1));
}

void make_set(std::vector<std::string>& names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

Result<void> refuse_seed(const RunRequest& request, const Seed& seed) {
  for (const Bind& bind : all_binds(request)) {
    if (!is_at_or_below(seed.path, bind.destination)) continue;
    const bool is_workspace = bind.destination == request.workspace;
    return fail(Errc::bad_config,
                fmt::format("the seed {} lies in the {} {}, which is the machine's own directory",
                            quoted(seed.path), is_workspace ? "workspace" : "bind",
                            quoted(bind.destination)),
                is_workspace ? "the workspace is writable as it is; leave the seed out"
                             : "leave one of them out");
  }
  for (const std::string& mask : request.masks) {
    if (!is_at_or_below(seed.path, mask) && !is_at_or_below(seed.source, mask)) continue;
    return fail(Errc::bad_config,
                fmt::format("the mask {} hides the seed {}", quoted(mask), quoted(seed.path)),
                "leave one of them out");
  }
  // What is in another root may all be seen, wherever that root is kept.
  if (!request.root.is_host()) return {};
  for (const std::string& own : own_directories()) {
    if (!is_at_or_below(seed.source, own)) continue;
    return fail(Errc::bad_config,
                fmt::format("the seed {} would show what sluice keeps", quoted(seed.path)),
                "leave it out");
  }
  return {};
}

}  // namespace

Result<void> refuse_seeds(const RunRequest& request) {
  for (const Seed& seed : request.seeds) {
    if (auto fine = refuse_seed(request, seed); !fine) return fine;
  }
  return {};
}

bool has_seed(const std::vector<Mount>& mounts) {
  return std::any_of(mounts.begin(), mounts.end(),
                     [](const Mount& mount) { return mount.kind == Mount::Kind::seed; });
}

void leave_out_of_seeds(const RunRequest& request, const Machine& machine,
                        std::vector<Mount>& mounts) {
  if (!has_seed(mounts)) return;
  const std::vector<std::string> hidden = hidden_paths(request, machine);
  for (Mount& seed : mounts) {
    if (seed.kind != Mount::Kind::seed) continue;
    for (const std::string& path : hidden) add_below(seed.source, path, seed.without);
    // A mask is a path of the sandbox as well.
    for (const std::string& mask : request.masks) add_below(seed.path, mask, seed.without);
    for (const Mount& mount : mounts) add_below(seed.path, mount.path, seed.mounted);
    make_set(seed.without);
    make_set(seed.mounted);
  }
}

}  // namespace sluice::launcher
