#include "launcher/sandbox/masking.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/text.h"
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

bool is_out_of_reach(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR || error_number == EACCES;
}

}  // namespace

Result<void> hide(const std::string& path) {
  const Fd target(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!target && is_out_of_reach(errno)) return {};
  const std::string what = fmt::format("cannot hide '{}'", text::printable(path));
  struct stat status {};
  if (!target || ::fstat(target.get(), &status) != 0) return fail_errno(Errc::not_permitted, what);
  auto cover = cover_for(status.st_mode);
  if (!cover) return Failure(cover.error());
  if (auto done = attach(cover->get(), target.get()); !done) {
    return fail(Errc::not_permitted, fmt::format("{}: {}", what, done.error().what));
  }
  return {};
}

}  // namespace sluice::launcher
