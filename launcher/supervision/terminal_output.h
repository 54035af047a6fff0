// Writes to the person's terminal and never waits for who reads it: a connection that hangs must
// keep no run from its timeout.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace sluice::launcher {

class TerminalOutput {
 public:
  static constexpr std::size_t most_waiting = std::size_t{64} * 1024;  // bytes

  // To the first of descriptors 1, 2 and 0 that is a terminal.
  TerminalOutput();

  // To ask for its size, and poll(2) for POLLOUT when something waits.
  int fd() const noexcept { return fd_.get(); }
  // Whether `standard`, one of descriptors 0-2, is the same terminal.
  bool is(int standard) const noexcept;

  // What is not taken now waits. Both are false when the terminal is gone.
  bool write(std::string_view bytes);
  bool write_on();
  bool is_waiting() const noexcept { return !waiting_.empty(); }
  bool is_full() const noexcept { return waiting_.size() >= most_waiting; }
  // Waits until all of it is taken. False when one of `signals` (signalfd(2)) that ends programs
  // came meanwhile.
  bool finish(int signals);

 private:
  Fd fd_;
  std::string waiting_;
};

}  // namespace sluice::launcher
