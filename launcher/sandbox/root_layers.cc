#include "launcher/sandbox/root_layers.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "base/io.h"
#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/sandbox/bind_source.h"
#include "launcher/sandbox/own_layer.h"
#include "launcher/sandbox/private_files.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t scratch_bytes = std::uint64_t{64} * 1024 * 1024;  // of names, above all
constexpr std::uint64_t harmless = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
Result<Fd> open_directory(int at, const char* name) {
  Fd directory(::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return fail_errno(Errc::not_permitted, fmt::format("cannot open '{}'", name));
  return directory;
}

Result<Fd> make_directory(int at, const char* name) {
  if (::mkdirat(at, name, 0755) != 0) return fail_errno(Errc::unavailable, name);
  return open_directory(at, name);
}

// What lies below another mount of the plan is made there when that one is mounted.
bool has_mount_above(const std::vector<Mount>& mounts, const std::string& path) {
  constexpr std::array<std::string_view, 3> kernel{"/proc", "/sys", "/dev"};
  for (const std::string_view own : kernel) {
    if (is_at_or_below(path, own)) return true;
  }
  for (const Mount& mount : mounts) {
    if (mount.path != path && is_at_or_below(path, mount.path)) return true;
  }
  return false;
}

Result<void> fill(OwnLayer& layer, const Plan& plan, const std::vector<Fd>& binds) {
  for (const char* name : {"proc", "sys", "dev"}) {
    if (auto made = layer.add_kernel_directory(name); !made) return made;
  }
  std::size_t next_bind = 0;
  for (const Mount& mount : plan.mounts) {
    struct stat status {};
    status.st_mode = S_IFDIR;
    if (mount.kind == Mount::Kind::bind && ::fstat(binds.at(next_bind++).get(), &status) != 0) {
      return fail_errno(Errc::bug, "fstat");
    }
    if (has_mount_above(plan.mounts, mount.path)) continue;
    if (auto made = layer.add_mount_point(mount.path, status.st_mode); !made) return made;
  }
  if (plan.root.is_host()) {
    if (auto done = hide_private_files("root", layer); !done) return done;
  }
  for (const OwnFile& file : plan.files) {
    if (auto made = layer.add_own_file(file); !made) return made;
  }
  return {};
}

// overlayfs keeps what it must remember in user.overlay.* there, and would go on without.
Result<void> expect_user_xattrs(int directory, const Root& root) {
  if (::fsetxattr(directory, "user.sluice", "", 0, 0) == 0 &&
      ::fremovexattr(directory, "user.sluice") == 0) {
    return {};
  }
  if (!root.is_on_disk()) {
    return fail_errno(Errc::unavailable, "this kernel's tmpfs cannot hold an overlay's changes");
  }
  return fail_errno(
      Errc::unavailable,
      fmt::format("the file system of '{}' cannot hold an overlay's changes",
                  text::printable(root.layers)),
      "let XDG_STATE_HOME name a directory on ext4, xfs or btrfs; --root-mode readonly works as it "
      "is");
}

Result<Fd> new_memory(const Root& root) {
  auto store = new_tmpfs(root.bytes, 0755);
  if (!store) return store;
  for (const char* name : {"work", "upper"}) {
    if (::mkdirat(store->get(), name, 0755) != 0) return fail_errno(Errc::unavailable, name);
  }
  return store;
}

// Whose directories are there.
Result<Fd> copy_from_disk(const Root& root) {
  auto store = open_layers(root);
  if (!store) return store;
  if (auto set = set_attributes(store->get(), harmless, Recursive::no); !set) {
    return Failure(set.error());
  }
  return store;
}

Result<Fd> add_writable_layer(int scratch, const Root& root) {
  const auto point = make_directory(scratch, "new");
  if (!point) return Failure(point.error());
  const auto store = root.is_on_disk() ? copy_from_disk(root) : new_memory(root);
  if (!store) return Failure(store.error());
  if (auto done = attach(store->get(), point->get()); !done) return Failure(done.error());
  auto upper = open_directory(store->get(), "upper");
  if (!upper || root.upper == Root::Upper::trusted_memory) return upper;
  if (auto fine = expect_user_xattrs(upper->get(), root); !fine) return Failure(fine.error());
  return upper;
}

const char* hint_at_mount(const Root& root) {
  if (root.upper == Root::Upper::trusted_memory) {
    return "does this kernel have overlayfs, over layers with mapped owners (Linux 5.19)? modprobe "
           "overlay; --root-mode readonly works as it is";
  }
  if (root.is_on_disk()) {
    return "does this kernel have overlayfs (modprobe overlay), and lies XDG_STATE_HOME on ext4, "
           "xfs or btrfs?";
  }
  return "does this kernel have overlayfs? modprobe overlay";
}

Result<Fd> mount_overlay(int scratch, const Root& root, OverlayMounter* mounter) {
  const bool by_mounter = root.is_overlay() && root.upper == Root::Upper::trusted_memory;
  if (by_mounter && mounter == nullptr) return fail(Errc::bug, "nobody can mount the overlay");
  auto mount = by_mounter ? mounter->mount(scratch) : new_file_system(layered_file_system(root));
  if (!mount) mount.error().hint = hint_at_mount(root);
  return mount;
}

}  // namespace

FileSystem layered_file_system(const Root& root) {
  FileSystem overlay{.type = "overlay", .parameters = {}, .attributes = harmless};
  overlay.parameters = {{"lowerdir", "own:hiding:root"}};
  if (root.is_overlay() && root.upper == Root::Upper::trusted_memory) {
    // What userxattr implies: the layers' own attributes lead nowhere (overlayfs's documentation).
    overlay.parameters.insert(
        overlay.parameters.end(),
        {{"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}});
  } else {
    overlay.parameters.emplace_back("userxattr", "");
  }
  if (root.is_overlay()) {
    overlay.parameters.emplace_back("upperdir", "new/upper");
    overlay.parameters.emplace_back("workdir", "new/work");
  } else {
    overlay.attributes |= MOUNT_ATTR_RDONLY;
  }
  return overlay;
}

Result<LayeredRoot> make_layered_root(const Plan& plan, Fd lower, const std::vector<Fd>& binds,
                                      OverlayMounter* mounter) {
  const auto scratch = new_tmpfs(scratch_bytes, 0755);
  if (!scratch) return Failure(scratch.error());
  if (auto done = attach(scratch->get(), "/"); !done) return Failure(done.error());
  const auto point = make_directory(scratch->get(), "root");
  if (!point) return Failure(point.error());
  // Only what is mounted in this namespace can be a layer.
  if (auto done = attach(lower.get(), point->get()); !done) return Failure(done.error());
  const auto own = make_directory(scratch->get(), "own");
  if (!own) return Failure(own.error());
  const auto hiding = make_directory(scratch->get(), "hiding");
  if (!hiding) return Failure(hiding.error());
  // The layers are named relative to it: no byte of anybody's path is in the mount's options.
  if (::fchdir(scratch->get()) != 0) return fail_errno(Errc::bug, "fchdir");
  OwnLayer layer(own->get(), hiding->get(), lower.get());
  if (auto done = fill(layer, plan, binds); !done) return Failure(done.error());
  LayeredRoot layered;
  if (plan.root.is_overlay()) {
    auto changes = add_writable_layer(scratch->get(), plan.root);
    if (!changes) return Failure(changes.error());
    layered.changes = std::move(*changes);
  }
  auto mount = mount_overlay(scratch->get(), plan.root, mounter);
  if (!mount) return Failure(mount.error());
  // The overlay has copies of its own of these mounts.
  if (::umount2(".", MNT_DETACH) != 0) return fail_errno(Errc::bug, "umount2");
  layered.mount = std::move(*mount);
  return layered;
}

}  // namespace sluice::launcher
