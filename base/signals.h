// Signals as something to poll for.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice {

// Blocks SIGTERM SIGINT SIGHUP SIGQUIT SIGCHLD SIGWINCH for the process and delivers them through
// the descriptor, non-blocking; ignores SIGPIPE (signalfd(2)).
Result<Fd> watch_signals();

// The numbers that have arrived.
std::vector<int> read_signals(int fd);

}  // namespace sluice
