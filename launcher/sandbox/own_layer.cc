#include "launcher/sandbox/own_layer.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <limits.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/fd.h"
#include "base/io.h"
#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr int most_links = 40;

// The last component first.
void push_components(std::vector<std::string>& rest, const std::string& path) {
  std::vector<std::string> components;
  for (const auto& component : std::filesystem::path(path).relative_path()) {
    if (!component.empty() && component != ".") components.push_back(component.string());
  }
  rest.insert(rest.end(), components.rbegin(), components.rend());
}

std::string parent_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

Failure not_a_directory(const std::string& path) {
  return fail(Errc::bad_config,
              fmt::format("'/{}' of this root is not a directory", text::printable(path)),
              "name a root directory as debootstrap or `podman export` makes it");
}

// It needs no capability (mknod(2)).
Result<void> white_out(int layer, const std::string& name) {
  if (::mknodat(layer, name.c_str(), S_IFCHR, makedev(0, 0)) == 0) return {};
  return fail_errno(Errc::unavailable, "cannot hide " + text::printable("/" + name));
}

}  // namespace

Result<std::string> resolve_inside(int root, const std::string& path) {
  std::vector<std::string> rest;
  push_components(rest, path);
  std::string at;
  for (int links = 0; !rest.empty();) {
    const std::string name = std::move(rest.back());
    rest.pop_back();
    if (name == "..") {
      at = parent_of(at);
      continue;
    }
    const std::string next = at.empty() ? name : fmt::format("{}/{}", at, name);
    std::array<char, PATH_MAX> target;
    const ssize_t size = ::readlinkat(root, next.c_str(), target.data(), target.size());
    if (size < 0) {
      if (errno == EACCES) return fail_errno(Errc::not_permitted, text::printable("/" + next));
      at = next;
      continue;
    }
    if (++links > most_links) {
      return Failure(errno_error(Errc::bad_config, text::printable(path), ELOOP));
    }
    if (target.front() == '/') at.clear();
    push_components(rest, std::string(target.data(), static_cast<std::size_t>(size)));
  }
  return at;
}

Result<void> OwnLayer::add_kernel_directory(const char* name) {
  if (::mkdirat(layer_, name, 0755) == 0) return {};
  return fail_errno(Errc::unavailable, name);
}

Result<void> OwnLayer::add_mount_point(const std::string& path, mode_t shape) {
  const auto resolved = resolve_inside(root_, path);
  if (!resolved) return Failure(resolved.error());
  if (resolved->empty()) return {};
  if (S_ISDIR(shape)) return add_directories(*resolved);
  if (auto made = add_directories(parent_of(*resolved)); !made) return made;
  return add_file(*resolved, "");
}

Result<void> OwnLayer::add_own_file(const OwnFile& file) {
  const auto directory = resolve_inside(root_, parent_of(file.path));
  if (!directory) return Failure(directory.error());
  struct stat status {};
  const bool is_there = ::fstatat(root_, directory->c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  if (!is_there && file.needs_directory) return {};
  if (auto made = add_directories(*directory); !made) return made;
  return add_file(*directory + "/" + std::filesystem::path(file.path).filename().string(),
                  file.text);
}

Result<void> OwnLayer::hide(const std::string& path, const struct stat& status) {
  const std::string name = path.substr(path.find_first_not_of('/'));
  if (S_ISDIR(status.st_mode)) {
    if (auto made = add_directories(name); !made) return made;
    return hide_beneath(name);
  }
  if (auto made = add_directories(parent_of(name)); !made) return made;
  return white_out(layer_, name);
}

// The layer's directory is merged with nothing below the whiteout.
Result<void> OwnLayer::hide_beneath(const std::string& name) {
  for (std::size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string prefix = name.substr(0, end);
    if (::mkdirat(hiding_, prefix.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail_errno(Errc::unavailable, text::printable(prefix));
    }
  }
  return white_out(hiding_, name);
}

Result<void> OwnLayer::add_directories(const std::string& path) {
  for (std::size_t end = 0; !path.empty() && end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string prefix = path.substr(0, end);
    struct stat status {};
    status.st_mode = S_IFDIR | 0755;
    const bool is_there = ::fstatat(root_, prefix.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there && !S_ISDIR(status.st_mode)) return not_a_directory(prefix);
    if (::mkdirat(layer_, prefix.c_str(), 0700) != 0) {
      if (errno == EEXIST) continue;
      return fail_errno(Errc::unavailable, text::printable(prefix));
    }
    // An owner that this namespace does not have is nobody's: ours then.
    const bool has_owner = ::fchownat(layer_, prefix.c_str(), status.st_uid, status.st_gid, 0) == 0;
    if (is_there && !has_owner && errno != EINVAL && errno != EPERM) {
      return fail_errno(Errc::unavailable, text::printable(prefix));
    }
    if (::fchmodat(layer_, prefix.c_str(), status.st_mode & 01777, 0) != 0) {
      return fail_errno(Errc::unavailable, text::printable(prefix));
    }
  }
  return {};
}

Result<void> OwnLayer::add_file(const std::string& path, const std::string& text) {
  (void)::unlinkat(layer_, path.c_str(), 0);  // what hides the root's own
  const Fd file(::openat(layer_, path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!file) return fail_errno(Errc::unavailable, text::printable(path));
  return write_all(file.get(), path, text);
}

}  // namespace sluice::launcher
