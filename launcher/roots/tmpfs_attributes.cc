#include "launcher/roots/tmpfs_attributes.h"

#include <sys/mman.h>
#include <sys/xattr.h>

#include "base/fd.h"

namespace sluice::launcher {

// A memfd lies in a tmpfs of the kernel's own (memfd_create(2)): nothing need be mounted.
bool tmpfs_can_hold(const std::string& name) {
  const Fd file(::memfd_create("sluice", MFD_CLOEXEC));
  return file && ::fsetxattr(file.get(), name.c_str(), name.data(), name.size(), 0) == 0;
}

}  // namespace sluice::launcher
