#include "netns/named/run_netns.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "netns/inside.h"
#include "netns/named/state.h"

namespace sluice::netns {
namespace {

constexpr const char* folder_path = "/run/netns";

Failure fail_at(const std::string& name, std::string_view what) {
  return fail_errno(errno == EPERM ? Errc::not_permitted : Errc::unavailable,
                    fmt::format("cannot {} '{}'", what, path_of_name(name)));
}

Result<void> require_valid(const std::string& name) {
  if (is_valid_name(name)) return {};
  return fail(Errc::bug, "a name that was not checked");
}

// A folder in which only root decides what a name is.
Result<Fd> open_folder() {
  Fd folder(::open(folder_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open the folder '{}'", folder_path));
  }
  struct stat status {};
  if (::fstat(folder.get(), &status) != 0) return fail_errno(Errc::unavailable, folder_path);
  if (status.st_uid != ::geteuid() || (status.st_mode & 0022) != 0) {
    return fail(Errc::not_permitted,
                fmt::format("the folder '{}' can be written by others than root", folder_path),
                "chown root:root /run/netns && chmod 755 /run/netns");
  }
  return folder;
}

// Without it a container engine in a mount namespace of its own would not see the names to come.
Result<void> share_folder() {
  if (::mount("", folder_path, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno == EINVAL &&  // no mount point yet
      ::mount(folder_path, folder_path, "none", MS_BIND | MS_REC, nullptr) == 0 &&
      ::mount("", folder_path, "none", MS_SHARED | MS_REC, nullptr) == 0) {
    return {};
  }
  return fail_errno(Errc::not_permitted,
                    fmt::format("cannot make '{}' a shared mount", folder_path));
}

std::string path_of_fd(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

}  // namespace

std::string path_of_name(std::string_view name) { return fmt::format("{}/{}", folder_path, name); }

Result<bool> has_name(const std::string& name) {
  if (auto valid = require_valid(name); !valid) return Failure(valid.error());
  if (::faccessat(AT_FDCWD, path_of_name(name).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
    return true;
  }
  if (errno == ENOENT) return false;
  return fail_at(name, "look for");
}

Result<void> bind_name(const std::string& name, int network_namespace) {
  if (auto valid = require_valid(name); !valid) return valid;
  if (::mkdir(folder_path, 0755) != 0 && errno != EEXIST) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot make the folder '{}'", folder_path));
  }
  if (const auto safe = open_folder(); !safe) return Failure(safe.error());
  if (auto shared = share_folder(); !shared) return shared;
  const auto folder = open_folder();  // the mount that covers it now
  if (!folder) return Failure(folder.error());
  const int flags = O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  const Fd file(::openat(folder->get(), name.c_str(), flags, 0));
  if (!file) return fail_at(name, "make");
  // By descriptors: no name is looked up again.
  const std::string from = path_of_fd(network_namespace);
  if (::mount(from.c_str(), path_of_fd(file.get()).c_str(), "none", MS_BIND, nullptr) == 0) {
    return {};
  }
  auto failed = fail_at(name, "mount the namespace on");
  ::unlinkat(folder->get(), name.c_str(), 0);
  return failed;
}

Result<std::optional<Fd>> open_name(const std::string& name) {
  const auto there = has_name(name);
  if (!there) return Failure(there.error());
  if (!*there) return std::nullopt;
  auto opened = open_network_namespace(path_of_name(name));
  if (!opened && opened.error().code == Errc::bad_config) return std::nullopt;
  if (!opened) return Failure(opened.error());
  return std::optional(std::move(*opened));
}

Result<void> remove_name(const std::string& name) {
  const auto there = has_name(name);
  if (!there) return Failure(there.error());
  if (!*there) return {};
  const std::string path = path_of_name(name);
  // One mount, unless somebody stacked more; EINVAL: none is left.
  while (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
  }
  if (errno != EINVAL && errno != ENOENT) return fail_at(name, "unmount");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_at(name, "remove");
  return {};
}

}  // namespace sluice::netns
