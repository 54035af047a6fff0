// Signals as something to poll for, and threads that they are kept from.
#pragma once

#include <signal.h>

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice {

// Blocks SIGTERM SIGINT SIGHUP SIGQUIT SIGCHLD SIGWINCH for the process and delivers them through
// the descriptor, non-blocking; ignores SIGPIPE (signalfd(2)).
Result<Fd> watch_signals();

// The numbers that have arrived.
std::vector<int> read_signals(int fd);
// Whether one of them is to end who gets it: SIGTERM SIGINT SIGHUP SIGQUIT.
bool ends_programs(const std::vector<int>& signals);

// While it lives the calling thread, and what it starts, blocks every signal: a thread that is
// started then never takes one from the thread that heeds it, and no SIGPIPE ends the process
// (pthread_sigmask(3)).
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked();

 private:
  sigset_t before_;
};

// Starts `run` in a thread that no signal reaches.
template <class Thread, class Run>
Thread start_without_signals(Run run) {
  const SignalsBlocked blocked;
  return Thread(std::move(run));
}

}  // namespace sluice
