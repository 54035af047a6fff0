#include "launcher/cgroup/leaf.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

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

// Those of `processes` that are in the group: another one may have got the number of one that
// ended.
std::vector<pid_t> present(const std::string& group, const std::vector<pid_t>& processes) {
  std::vector<pid_t> found;
  std::ifstream list(group + "/cgroup.procs");
  for (pid_t pid = 0; list >> pid;) {
    if (std::find(processes.begin(), processes.end(), pid) != processes.end()) found.push_back(pid);
  }
  return found;
}

}  // namespace

Result<Leaf> Leaf::enter(const Ground& ground, const std::string& controllers,
                         const std::vector<pid_t>& company) {
  std::optional<Directory> directory;
  if (ground.must_leave) {
    auto made = Directory::make(ground.directory);
    if (!made) return Failure(made.error());
    // The calling process: the directory must not be ended with it in it.
    if (auto moved = made->write("cgroup.procs", "0"); !moved) return Failure(moved.error());
    directory.emplace(std::move(*made));
  }
  Leaf leaf(ground.directory, controllers, std::move(directory));
  if (leaf.directory_) {
    for (const pid_t pid : present(ground.directory, company)) {
      leaf.company_.push_back(pid);
      // One that has ended meanwhile is no longer in the way.
      (void)leaf.directory_->write("cgroup.procs", std::to_string(pid));
    }
  }
  if (auto handed = write(ground.directory + "/cgroup.subtree_control", controllers); !handed) {
    return Failure(handed.error());
  }
  return leaf;
}

Leaf::Leaf(Leaf&& other) noexcept
    : ground_(std::move(other.ground_)),
      controllers_(std::move(other.controllers_)),
      directory_(std::move(other.directory_)),
      company_(std::move(other.company_)) {
  other.directory_.reset();
}

Leaf::~Leaf() {
  if (!directory_) return;
  std::string taken = controllers_;
  std::replace(taken.begin(), taken.end(), '+', '-');
  (void)write_file(ground_ + "/cgroup.subtree_control", taken);
  for (const pid_t pid : present(directory_->path(), company_)) {
    (void)write_file(ground_ + "/cgroup.procs", std::to_string(pid));
  }
  // Ending the group would end sluice as long as it is in it.
  const bool has_left = write_file(ground_ + "/cgroup.procs", "0").has_value();
  if (!has_left || !present(directory_->path(), company_).empty()) directory_->abandon();
}

}  // namespace sluice::launcher::cgroup
