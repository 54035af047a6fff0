// Gives files their modes for the root of an overlay, without the setuid and setgid bits that it
// asks for.
#pragma once

#include "launcher/sandbox/notifications.h"

namespace sluice::launcher {

// Answers one call that the filter holds back: chmod(2), fchmod(2), fchmodat(2) or fchmodat2(2)
// with a set-id bit; any other is ENOSYS. dpkg and tar ask for them, and to refuse would
// leave their files without any mode; under no_new_privs the bits mean nothing inside, and on the
// host, in the workspace, they would mean the rights of its owner. So the mode is set without them.
//
// For pid 1, with the thread as it sees it: it sees what the agent sees and has more rights over
// it: what the caller could not change itself, neither its owner nor uid 0, is EPERM. That a caller
// went away meanwhile is no error.
void answer_set_id(const Notifications& listener, const Notification& held);

}  // namespace sluice::launcher
