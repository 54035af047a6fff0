#include "launcher/sandbox/masking.h"

#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/text.h"
#include "launcher/sandbox/mount_points.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t empty_bytes = 4096;

Result<Fd> cover_for(mode_t type) {
  if (!S_ISDIR(type)) return clone_tree("/dev/null", Recursive::no);
  auto empty = new_tmpfs(empty_bytes, 0555);
  if (!empty) return empty;
  if (auto set = set_attributes(empty->get(), MOUNT_ATTR_RDONLY, Recursive::no); !set) {
    return Failure(set.error());
  }
  return empty;
}

}  // namespace

Result<void> hide(const std::string& path) {
  Place place = walk({.path = path});
  if (place.error == ENOENT || place.error == ENOTDIR) return {};
  const std::string what = fmt::format("cannot hide '{}'", text::printable(path));
  if (place.error == EACCES && !is_root_directory(place.directory.get())) {
    place = {std::move(place.directory), Fd{}, {}, 0};
  }
  if (place.error != 0) return Failure(errno_error(Errc::not_permitted, what, place.error));
  struct stat status {};
  if (::fstat(place.found.get(), &status) != 0) return fail_errno(Errc::not_permitted, what);
  auto cover = cover_for(status.st_mode);
  if (!cover) return Failure(cover.error());
  if (auto done = attach(cover->get(), place.found.get()); !done) {
    return fail(Errc::not_permitted, fmt::format("{}: {}", what, done.error().what));
  }
  return {};
}

}  // namespace sluice::launcher
