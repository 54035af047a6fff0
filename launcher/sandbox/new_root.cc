#include "launcher/sandbox/new_root.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/sandbox/bind_source.h"
#include "launcher/sandbox/devices.h"
#include "launcher/sandbox/masking.h"
#include "launcher/sandbox/mount_points.h"
#include "launcher/sandbox/own_files.h"
#include "launcher/sandbox/root_layers.h"
#include "launcher/sandbox/seed_copy.h"
#include "launcher/sandbox/shields.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

Result<std::vector<Fd>> open_binds(const Plan& plan) {
  std::vector<Fd> binds;
  for (const Mount& mount : plan.mounts) {
    if (!has_source(mount)) continue;
    auto bind = open_bind(mount);
    if (!bind) return Failure(bind.error());
    binds.push_back(std::move(*bind));
  }
  return binds;
}

// Read-only on the detached copy, so that there is no moment in which anybody sees it writable.
Result<LayeredRoot> copy_hosts_root() {
  auto root = clone_tree("/", Recursive::yes);
  if (!root) return Failure(root.error());
  constexpr std::uint64_t closed = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (auto set = set_attributes(root->get(), closed, Recursive::yes); !set) {
    return Failure(set.error());
  }
  return LayeredRoot{std::move(*root), {}};
}

Result<LayeredRoot> make_root(const Plan& plan, Opened& opened) {
  if (plan.root.is_hosts_as_it_is()) return copy_hosts_root();
  if (!opened.root) {
    auto root = open_root(plan.root);
    if (!root) return Failure(root.error());
    opened.root = std::move(*root);
  }
  return make_layered_root(plan, std::move(opened.root), opened.binds, opened.mounter);
}

Result<void> change_root(int root) {
  if (auto done = attach(root, "/"); !done) return done;
  if (::fchdir(root) != 0) return fail_errno(Errc::bug, "fchdir");
  if (::syscall(SYS_pivot_root, ".", ".") != 0)
    return fail_errno(Errc::not_permitted, "pivot_root");
  // pivot_root(2): the old root now lies on top of the new one.
  if (::umount2(".", MNT_DETACH) != 0) return fail_errno(Errc::not_permitted, "umount2");
  if (::chdir("/") != 0) return fail_errno(Errc::bug, "chdir");
  return {};
}

Shape shape_of(int tree) {
  struct stat status {};
  return ::fstat(tree, &status) == 0 && !S_ISDIR(status.st_mode) ? Shape::file : Shape::directory;
}

// What lies in the source may have been left by an agent of an earlier run, links included.
Result<void> mount_seed(const Mount& seed, MountPoints& points, int source, int point,
                        std::vector<std::string>& notices) {
  const auto empty = new_tmpfs(seed.bytes, 0700);
  if (!empty) return Failure(empty.error());
  if (auto done = attach(empty->get(), point); !done) return done;
  auto notice = copy_seed(seed, source, empty->get());
  if (!notice) return Failure(notice.error());
  if (!notice->empty()) notices.push_back(std::move(*notice));
  return points.refuse_links_in(empty->get());
}

Result<void> mount_one(const Mount& mount, MountPoints& points, Fd bind,
                       std::vector<std::string>& notices) {
  const Shape shape = bind ? shape_of(bind.get()) : Shape::directory;
  auto point = points.open(mount.path, shape, MakeMissing(mount.required));
  if (!point) return mount.required ? Failure(point.error()) : Result<void>{};
  switch (mount.kind) {
    case Mount::Kind::shadow:
      return points.cover(point->get(), mount.mode);
    case Mount::Kind::bind:
      if (auto done = attach(bind.get(), point->get()); !done) return done;
      if (auto done = points.refuse_links_in(bind.get()); !done) return done;
      return raise_shields(mount, bind.get(), points);
    case Mount::Kind::seed:
      return mount_seed(mount, points, bind.get(), point->get(), notices);
    case Mount::Kind::tmpfs:
      break;
  }
  auto empty = new_tmpfs(mount.bytes, mount.mode);
  if (!empty) return Failure(empty.error());
  return attach(empty->get(), point->get());
}

Result<void> mount_all(const Plan& plan, MountPoints& points, std::vector<Fd>& binds,
                       std::vector<std::string>& notices) {
  std::size_t next_bind = 0;
  for (const Mount& mount : plan.mounts) {
    Fd bind = has_source(mount) ? std::move(binds.at(next_bind++)) : Fd{};
    if (auto done = mount_one(mount, points, std::move(bind), notices); !done) {
      return fail(
          done.error().code,
          fmt::format("cannot mount '{}': {}", text::printable(mount.path), done.error().what),
          done.error().hint);
    }
  }
  return {};
}

// Another root has them in a layer of ours already, but a seed lies upon that.
std::vector<OwnFile> files_to_put(const Plan& plan) {
  if (plan.root.is_hosts_as_it_is()) return plan.files;
  std::vector<OwnFile> files;
  const auto is_covered = [&](const OwnFile& file) {
    return std::any_of(plan.mounts.begin(), plan.mounts.end(), [&](const Mount& mount) {
      return mount.kind == Mount::Kind::seed &&
             (!plan.root.is_overlay() || is_at_or_below(file.path, mount.path));
    });
  };
  std::copy_if(plan.files.begin(), plan.files.end(), std::back_inserter(files), is_covered);
  return files;
}

}  // namespace

Result<NewRoot> enter_new_root(const Plan& plan, Opened opened) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return fail_errno(Errc::not_permitted, "cannot make mounts private");
  }
  if (opened.binds.empty()) {
    auto binds = open_binds(plan);
    if (!binds) return Failure(binds.error());
    opened.binds = std::move(*binds);
  }
  auto kernel_files = KernelFiles::make();
  if (!kernel_files) return Failure(kernel_files.error());
  auto devices = Devices::take();
  if (!devices) return Failure(devices.error());
  auto root = make_root(plan, opened);
  if (!root) return Failure(root.error());
  if (auto done = change_root(root->mount.get()); !done) return Failure(done.error());
  if (auto done = kernel_files->attach(); !done) return Failure(done.error());
  if (auto done = devices->attach(); !done) return Failure(done.error());
  MountPoints points;
  std::vector<std::string> notices;
  if (auto done = mount_all(plan, points, opened.binds, notices); !done)
    return Failure(done.error());
  auto denials =
      put_own_files(files_to_put(plan), MakeMissing(!plan.root.is_hosts_as_it_is()), points);
  if (!denials) return Failure(denials.error());
  for (const std::string& mask : plan.masks) {
    if (auto done = hide(mask); !done) return Failure(done.error());
  }
  if (auto done = points.seal(); !done) return Failure(done.error());
  if (auto done = devices->seal(); !done) return Failure(done.error());
  return NewRoot{std::move(*kernel_files), std::move(*denials), std::move(notices),
                 std::move(root->changes)};
}

}  // namespace sluice::launcher
