#include "launcher/sandbox/mount_points.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/text.h"
#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t shadow_bytes = std::uint64_t{256} * 1024;

Fd open_path(const std::string& path) { return Fd(::open(path.c_str(), O_PATH | O_CLOEXEC)); }

std::string parent(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

// The nearest directory at or above `path` that can be named but not searched; "" when there is
// none.
std::string unsearchable_ancestor(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (!open_path(prefix) && errno == EACCES) return parent(prefix);
    if (slash == std::string::npos) return {};
  }
}

Result<void> make(const std::string& path, Shape shape) {
  const std::string& directory = shape == Shape::directory ? path : parent(path);
  if (auto made = make_directories(directory); !made) return made;
  if (shape == Shape::directory) return {};
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot make '{}'", text::printable(path)));
  }
  return {};
}

}  // namespace

Result<void> make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (::mkdir(prefix.c_str(), 0755) != 0 && errno != EEXIST && !open_path(prefix)) {
      return fail(Errc::not_permitted,
                  fmt::format("there is no '{}' to mount on", text::printable(prefix)),
                  "choose a path that exists, or one below /run, /tmp or the home directory");
    }
    if (slash == std::string::npos) return {};
  }
}

Result<Fd> MountPoints::open(const std::string& path, Shape shape, MakeMissing make_missing) {
  Fd found = open_path(path);
  if (!found && errno == EACCES && make_missing) {
    const std::string closed = unsearchable_ancestor(path);
    if (closed.empty() || closed == "/") {
      return fail(Errc::not_permitted,
                  fmt::format("the agent cannot reach '{}'", text::printable(path)),
                  "make the directories above it searchable");
    }
    if (auto covered = cover(closed, 0755); !covered) return Failure(covered.error());
    found = open_path(path);
  }
  if (!found && errno == ENOENT && make_missing) {
    if (auto made = make(path, shape); !made) return Failure(made.error());
    found = open_path(path);
  }
  if (!found) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", text::printable(path)));
  }
  struct stat status {};
  if (::fstat(found.get(), &status) != 0) return fail_errno(Errc::bug, "fstat");
  if (S_ISDIR(status.st_mode) != (shape == Shape::directory)) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is {}a directory", text::printable(path),
                            shape == Shape::directory ? "not " : ""),
                "mount directories on directories and files on files");
  }
  return found;
}

Result<void> MountPoints::cover(const std::string& directory, mode_t mode) {
  auto shadow = new_tmpfs(shadow_bytes, mode);
  if (!shadow) return Failure(shadow.error());
  if (auto attached = attach(shadow->get(), directory); !attached) return attached;
  shadows_.push_back(std::move(*shadow));
  return {};
}

Result<void> MountPoints::seal() {
  for (const Fd& shadow : shadows_) {
    auto sealed = set_attributes(shadow.get(), MOUNT_ATTR_RDONLY, Recursive::no);
    if (!sealed) return sealed;
  }
  return {};
}

}  // namespace sluice::launcher
