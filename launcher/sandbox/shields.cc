#include "launcher/sandbox/shields.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

Fd open_below(int bind, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, bind, path.c_str(), &how, sizeof(how))));
}

Result<void> raise_one(const Shield& shield, int bind, MountPoints& points) {
  const Fd place = open_below(bind, shield.path);
  if (!place) return fail_errno(Errc::unavailable, "cannot open it", "is it being changed?");
  // With all below it: what the bind brought along is not to be taken apart (mount_namespaces(7)).
  auto tree = clone_tree_at(place.get(), "", Recursive::yes);
  if (!tree) return Failure(tree.error());
  if (shield.access == Access::read_only) {
    if (auto set = set_attributes(tree->get(), MOUNT_ATTR_RDONLY, Recursive::yes); !set) return set;
  }
  if (auto done = attach(tree->get(), place.get()); !done) return done;
  return points.refuse_links_in(tree->get());
}

}  // namespace

Result<void> raise_shields(const Mount& mount, int bind, MountPoints& points) {
  for (const Shield& shield : mount.shields) {
    auto raised = raise_one(shield, bind, points);
    if (raised) continue;
    return fail(raised.error().code,
                fmt::format("cannot protect '{}': {}",
                            text::printable(mount.path + "/" + shield.path), raised.error().what),
                raised.error().hint);
  }
  return {};
}

}  // namespace sluice::launcher
