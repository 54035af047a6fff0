// The command `attach`.
#pragma once

#include "netns/attach/attach.h"

namespace sluice::netns {

// As the supervisor, until the container has ended. Answers the exit status.
int run_attach(const AttachOrder& order);
// Leaves the supervisor in the background, and prints its pid.
int run_attach_detached(const AttachOrder& order);

}  // namespace sluice::netns
