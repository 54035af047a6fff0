// New /proc and /sys for the agent's namespaces, with what they tell about the host covered.
#pragma once

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

class KernelFiles {
 public:
  // Makes both while the host's are still visible: a user namespace may mount a new one only then
  // (mount_namespaces(7), "mount too revealing"). Where a new sysfs is refused, an empty /sys.
  static Result<KernelFiles> make();

  Result<void> attach();

  // Covers and closes: last, because the agent's network is configured through /proc/sys.
  Result<void> seal();

 private:
  Fd proc_;
  Fd sys_;
};

}  // namespace sluice::launcher
