#include "launcher/sandbox/devices.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>

#include "launcher/sandbox/tree.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t dev_bytes = std::uint64_t{256} * 1024;

// devpts of our own: an index in it means nothing on the host, and no host terminal has one here.
Result<void> attach_terminals() {
  auto terminals = new_file_system({.type = "devpts",
                                    .parameters = {{"ptmxmode", "0666"}, {"mode", "0600"}},
                                    .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC});
  if (!terminals) return Failure(terminals.error());
  return attach(terminals->get(), "/dev/pts");
}

Result<void> attach_queues() {
  auto queues =
      new_file_system({.type = "mqueue",
                       .parameters = {},
                       .attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC});
  // Kernels without POSIX message queues have no such file system.
  if (!queues) return errno == ENODEV ? Result<void>{} : Failure(queues.error());
  return attach(queues->get(), "/dev/mqueue");
}

Result<void> make_links() {
  constexpr std::array<std::pair<const char*, const char*>, 5> links{
      {{"pts/ptmx", "/dev/ptmx"},
       {"/proc/self/fd", "/dev/fd"},
       {"/proc/self/fd/0", "/dev/stdin"},
       {"/proc/self/fd/1", "/dev/stdout"},
       {"/proc/self/fd/2", "/dev/stderr"}}};
  for (const auto& [to, path] : links) {
    if (::symlink(to, path) != 0) return fail_errno(Errc::not_permitted, path);
  }
  for (const char* path : {"/dev/pts", "/dev/shm", "/dev/mqueue"}) {
    if (::mkdir(path, 0755) != 0) return fail_errno(Errc::not_permitted, path);
  }
  return {};
}

}  // namespace

Result<Devices> Devices::take() {
  Devices devices;
  for (std::size_t i = 0; i < names.size(); ++i) {
    auto node = clone_tree(fmt::format("/dev/{}", names[i]), Recursive::no);
    if (!node) return Failure(node.error());
    devices.nodes_[i] = std::move(*node);
  }
  return devices;
}

Result<void> Devices::attach() {
  auto mount = new_tmpfs(dev_bytes, 0755);
  if (!mount) return Failure(mount.error());
  mount_ = std::move(*mount);
  if (auto done = launcher::attach(mount_.get(), "/dev"); !done) return done;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string path = fmt::format("/dev/{}", names[i]);
    const Fd point(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!point) return fail_errno(Errc::not_permitted, path);
    if (auto done = launcher::attach(nodes_[i].get(), path); !done) return done;
  }
  if (auto made = make_links(); !made) return made;
  if (auto done = attach_terminals(); !done) return done;
  return attach_queues();
}

Result<void> Devices::seal() {
  return set_attributes(mount_.get(), MOUNT_ATTR_RDONLY, Recursive::no);
}

}  // namespace sluice::launcher
