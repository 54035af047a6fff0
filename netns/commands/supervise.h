// The command `supervise`.
#pragma once

namespace sluice::netns {

// Until it is told to end: 0, or 125 when it could not begin.
int run_supervise();

}  // namespace sluice::netns
