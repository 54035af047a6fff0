// Writes to the person's terminal and never waits for who reads it: a connection that hangs must
// keep no run from its timeout.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "launcher/supervision/carrier.h"

namespace sluice::launcher {

// To the first of descriptors 1, 2 and 0 that is a terminal, through a process of its own, which
// waits there: O_NONBLOCK on the person's descriptor would be their shell's as well, and not
// everybody may open a terminal again (su(1)).
class TerminalOutput {
 public:
  static constexpr std::size_t most_waiting = std::size_t{64} * 1024;  // bytes

  TerminalOutput();
  Result<void> start();

  // The terminal, to ask for its size.
  int terminal() const noexcept { return terminal_; }
  // For poll(2): POLLOUT when something waits.
  int fd() const noexcept { return carrier_.socket.get(); }
  // Whether `standard`, one of descriptors 0-2, is the same terminal.
  bool is(int standard) const noexcept;

  // What is not taken now waits. Both are false when the terminal is gone.
  bool write(std::string_view bytes);
  bool write_on();
  bool is_waiting() const noexcept { return !waiting_.empty(); }
  bool is_full() const noexcept { return waiting_.size() >= most_waiting; }
  // Waits until the terminal has taken all of it. False when one of `signals` (signalfd(2)) that
  // ends programs came meanwhile. Nothing is written behind it.
  bool finish(int signals);

 private:
  bool wait_for_reader(int signals);

  int terminal_;
  Carrier carrier_;
  std::string waiting_;
};

}  // namespace sluice::launcher
