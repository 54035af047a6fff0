// Where sluice itself stays while the group it was started in hands its controllers to children:
// such a group may hold no process (cgroup v2).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/cgroup/directory.h"
#include "launcher/cgroup/place.h"

namespace sluice::launcher::cgroup {

// Hands `controllers` ("+memory +pids") of a v2 ground to its children, and takes them back in the
// end where the ground is not the hierarchy's root, whose children others may have.
class Leaf {
 public:
  // `company`: sluice's other processes, which are moved as well if they are in the ground.
  static Result<Leaf> enter(const Ground& ground, const std::string& controllers,
                            const std::vector<pid_t>& company);
  Leaf(Leaf&& other) noexcept;
  Leaf& operator=(Leaf&&) = delete;
  // Returns to the ground with its company; every other process of the leaf is to be gone by then.
  ~Leaf();

 private:
  Leaf(std::string ground, std::string controllers, std::optional<Directory> directory)
      : ground_(std::move(ground)),
        controllers_(std::move(controllers)),
        directory_(std::move(directory)) {}

  std::string ground_;
  std::string controllers_;
  std::optional<Directory> directory_;  // none: sluice stays in the ground
  std::vector<pid_t> company_;          // what was moved
};

}  // namespace sluice::launcher::cgroup
