// Gives files their modes for the root of an overlay, without the setuid and setgid bits that it
// asks for.
#pragma once

#include "base/error.h"

namespace sluice::launcher {

// Answers one call that the filter holds back (seccomp_unotify(2)): chmod(2), fchmod(2),
// fchmodat(2) or fchmodat2(2) with a set-id bit. dpkg and tar ask for them, and to refuse would
// leave their files without any mode; under no_new_privs the bits mean nothing inside, and on the
// host, in the workspace, they would mean the rights of its owner. So the mode is set without them.
//
// For pid 1, which sees what the agent sees and has more rights over it: what the caller could not
// change itself, neither its owner nor uid 0, is EPERM. An error means that the listener is of no
// more use; that a caller went away meanwhile is none.
Result<void> answer_set_id(int listener);

}  // namespace sluice::launcher
