#include "launcher/cgroup/leaf.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "base/text.h"

namespace sluice::launcher::cgroup {
namespace {

Result<void> write(const std::string& path, const std::string& value) {
  errno = 0;
  if (write_file(path, value)) return {};
  return fail_errno(Errc::not_permitted,
                    fmt::format("cannot write '{}' to '{}'", value, text::printable(path)),
                    "start sluice in a delegated control group of its own: systemd-run --user "
                    "--scope -p Delegate=yes -- sluice run ...");
}

}  // namespace

Result<Leaf> Leaf::enter(const Ground& ground, const std::string& controllers) {
  std::optional<Directory> directory;
  if (ground.must_leave) {
    auto made = Directory::make(ground.directory);
    if (!made) return Failure(made.error());
    // The calling process: the directory must not be ended with it in it.
    if (auto moved = made->write("cgroup.procs", "0"); !moved) return Failure(moved.error());
    directory.emplace(std::move(*made));
  }
  Leaf leaf(ground.directory, controllers, std::move(directory));
  if (auto handed = write(ground.directory + "/cgroup.subtree_control", controllers); !handed) {
    return Failure(handed.error());
  }
  return leaf;
}

Leaf::Leaf(Leaf&& other) noexcept
    : ground_(std::move(other.ground_)),
      controllers_(std::move(other.controllers_)),
      directory_(std::move(other.directory_)) {
  other.directory_.reset();
}

Leaf::~Leaf() {
  if (!directory_) return;
  std::string taken = controllers_;
  std::replace(taken.begin(), taken.end(), '+', '-');
  (void)write_file(ground_ + "/cgroup.subtree_control", taken);
  // Ending the group would end sluice as long as it is in it.
  if (!write_file(ground_ + "/cgroup.procs", "0")) directory_->abandon();
}

}  // namespace sluice::launcher::cgroup
