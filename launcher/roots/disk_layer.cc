#include "launcher/roots/disk_layer.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "base/text.h"
#include "launcher/paths.h"
#include "launcher/roots/layer_room.h"
#include "launcher/roots/remove_tree.h"
#include "launcher/roots/upper_layer.h"
#include "launcher/state_folder.h"

namespace sluice::launcher {
namespace {

constexpr const char* store_name = "overlays";
constexpr const char* elsewhere =
    "let XDG_STATE_HOME name a directory on ext4, xfs or btrfs; --root-mode readonly works as it "
    "is";

std::string shown(std::string_view path) { return fmt::format("'{}'", text::printable(path)); }

// Held by each run between its lock and the next look, so that nobody removes what is being made.
Result<void> lock(int directory) {
  while (::flock(directory, LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(Errc::unavailable, "cannot lock the place of overlays");
  }
  return {};
}

// What nobody holds any more was left by a run that was killed.
Result<std::vector<std::string>> sweep(int store, const std::string& path) {
  const auto names = entries_of(store);
  if (!names) return Failure(names.error());
  std::vector<std::string> notices;
  for (const std::string& name : *names) {
    const Fd left(::openat(store, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (left && ::flock(left.get(), LOCK_EX | LOCK_NB) != 0) continue;
    if (auto removed = remove_root(fmt::format("{}/{}", path, name)); !removed) {
      notices.push_back(fmt::format("what a killed run left in {} stays for now: {}", shown(path),
                                    removed.error().what));
    }
  }
  return notices;
}

// overlayfs tells what was deleted by the types that readdir(3) gives, and goes on without them.
bool has_types(int directory) {
  Fd copy(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(copy ? ::fdopendir(copy.get()) : nullptr,
                                                   &::closedir);
  if (!stream) return false;
  (void)copy.release();
  while (const dirent* entry = ::readdir(stream.get())) {
    if (entry->d_type == DT_UNKNOWN) return false;
  }
  return true;
}

Result<void> make_layers(int directory, const std::string& path) {
  for (const char* name : {"upper", "work"}) {
    // '/' of the agent, which has more ids than one; the directory around it is closed.
    if (::mkdirat(directory, name, 0755) != 0 || ::fchmodat(directory, name, 0755, 0) != 0) {
      return fail_errno(Errc::unavailable, "cannot make a directory in " + shown(path));
    }
  }
  const auto upper = open_directory_of(directory, "upper");
  if (!upper) return Failure(upper.error());
  if (::fsetxattr(upper->get(), "user.sluice", "", 0, 0) != 0 ||
      ::fremovexattr(upper->get(), "user.sluice") != 0) {
    return fail_errno(
        Errc::unavailable,
        fmt::format("the file system of {} cannot hold an overlay's changes", shown(path)),
        elsewhere);
  }
  if (!has_types(directory)) {
    return fail(Errc::unavailable,
                fmt::format("the file system of {} tells no types of files (xfs with ftype=0)",
                            shown(path)),
                elsewhere);
  }
  return expect_room(upper->get(), path);
}

}  // namespace

std::string disk_layers_directory(const std::string& state_directory) {
  return fmt::format("{}/sluice/{}", state_directory, store_name);
}

Result<DiskLayer> DiskLayer::make(const std::string& state_directory) {
  const auto store = open_state_folder(state_directory, store_name, MakeFolder::yes);
  if (!store) return Failure(store.error());
  if (auto locked = lock(store->get()); !locked) return Failure(locked.error());
  const auto real = real_path(disk_layers_directory(state_directory));
  if (!real) return Failure(real.error());
  auto notices = sweep(store->get(), *real);
  if (!notices) return Failure(notices.error());
  std::string path = *real + "/run-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return fail_errno(Errc::unavailable, "cannot make a directory in " + shown(*real));
  }
  auto directory = open_directory_of(AT_FDCWD, path);
  if (!directory) return Failure(directory.error());
  const int fd = directory->get();
  DiskLayer layer(path, std::move(*directory), std::move(*notices));
  if (auto locked = lock(fd); !locked) return Failure(locked.error());
  if (auto made = make_layers(fd, path); !made) return Failure(made.error());
  return layer;
}

DiskLayer::DiskLayer(DiskLayer&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      lock_(std::move(other.lock_)),
      notices_(std::move(other.notices_)) {}

DiskLayer::~DiskLayer() { (void)remove(); }

Result<void> DiskLayer::remove() {
  if (path_.empty()) return {};
  return remove_root(std::exchange(path_, {}));
}

}  // namespace sluice::launcher
