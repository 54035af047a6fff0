#include "launcher/sandbox/tree.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>

#include <algorithm>

namespace sluice::launcher {
namespace {

constexpr std::uint64_t fewest_inodes = 64;

std::string cannot_mount(const char* type) { return fmt::format("cannot mount a new {}", type); }

}  // namespace

Result<Fd> clone_tree_at(int directory, const std::string& name, Recursive recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT;
  if (name.empty()) flags |= AT_EMPTY_PATH;
  if (recursive) flags |= AT_RECURSIVE;
  Fd tree(::open_tree(directory, name.c_str(), flags));
  if (!tree)
    return fail_errno(Errc::not_permitted, fmt::format("cannot copy the mount '{}'", name));
  return tree;
}

Result<Fd> clone_tree(const std::string& path, Recursive recursive) {
  return clone_tree_at(AT_FDCWD, path, recursive);
}

Result<Fd> new_file_system(const FileSystem& file_system) {
  const Fd context(::fsopen(file_system.type, FSOPEN_CLOEXEC));
  if (!context) return fail_errno(Errc::not_permitted, cannot_mount(file_system.type));
  for (const auto& [key, value] : file_system.parameters) {
    const bool is_flag = value.empty();
    if (::fsconfig(context.get(), is_flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key.c_str(),
                   is_flag ? nullptr : value.c_str(), 0) != 0) {
      return fail_errno(Errc::not_permitted,
                        fmt::format("{} with {}={}", cannot_mount(file_system.type), key, value));
    }
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return fail_errno(Errc::not_permitted, cannot_mount(file_system.type));
  }
  Fd mount(
      ::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(file_system.attributes)));
  if (!mount) return fail_errno(Errc::not_permitted, cannot_mount(file_system.type));
  return mount;
}

std::uint64_t inodes_of(std::uint64_t bytes) noexcept {
  return std::max(bytes / bytes_per_inode, fewest_inodes);
}

Result<Fd> new_tmpfs(std::uint64_t bytes, mode_t mode) {
  return new_file_system({.type = "tmpfs",
                          .parameters = {{"size", fmt::format("{}", bytes)},
                                         {"nr_inodes", fmt::format("{}", inodes_of(bytes))},
                                         {"mode", fmt::format("{:o}", mode)}},
                          .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV});
}

Result<void> set_attributes(int mount, std::uint64_t attributes, Recursive recursive) {
  mount_attr change{};
  change.attr_set = attributes;
  const unsigned flags = AT_EMPTY_PATH | (recursive ? unsigned{AT_RECURSIVE} : 0U);
  if (::mount_setattr(mount, "", flags, &change, sizeof(change)) != 0) {
    return fail_errno(Errc::not_permitted, "mount_setattr");
  }
  return {};
}

Result<void> attach(int mount, int target) {
  if (::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    return fail_errno(Errc::not_permitted, "move_mount");
  }
  return {};
}

Result<void> attach(int mount, const std::string& target) {
  if (::move_mount(mount, "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno(Errc::not_permitted, fmt::format("cannot mount on '{}'", target));
  }
  return {};
}

}  // namespace sluice::launcher
