// How an embedded sluiced shuts itself in before it reads one byte of an agent's.
#pragma once

#include <sys/types.h>

#include <optional>

#include "base/error.h"

namespace sluice::proxy {

struct Enclosure {
  // Whom a root caller becomes (setresuid(2)); the gid is the same number. Ignored by no one: an
  // ordinary user who sets it is refused.
  std::optional<uid_t> as_uid;
};

// Gives up, for the life of the process: root, every capability, the file system (an empty
// read-only root, Landlock where the kernel has it), the IPC and host name namespaces, exec, fork
// and every system call that moving bytes does not need (seccomp). Keeps open descriptors, the
// network namespace and threads.
//
// Call with one thread only, after every file has been opened. Any step that fails is an error
// after which the caller must exit; the process may be half enclosed then. Root without `as_uid` is
// refused.
Result<void> enclose(const Enclosure& enclosure);

}  // namespace sluice::proxy
