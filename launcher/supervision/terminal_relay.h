// Carries bytes between the person's terminal and the sandbox's own, and puts the person's back in
// order.
#pragma once

#include <poll.h>
#include <termios.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/supervision/erofs_watch.h"
#include "launcher/supervision/own_lines.h"
#include "launcher/supervision/terminal_output.h"

namespace sluice::launcher {

class TerminalRelay {
 public:
  // `master` of the sandbox's pty. When descriptor 0 is a terminal and we are in its foreground:
  // raw mode until the destructor. Otherwise nothing is read from the person. `heard` is fed with
  // what the agent says, which goes between `lines`; both outlive the relay.
  TerminalRelay(Fd master, ErofsWatch& heard, OwnLines& lines);
  TerminalRelay(const TerminalRelay&) = delete;
  TerminalRelay& operator=(const TerminalRelay&) = delete;
  ~TerminalRelay();
  // Before anything else.
  Result<void> start() { return output_.start(); }

  bool is_raw() const noexcept { return saved_.has_value(); }
  std::vector<pollfd> waits() const;
  void handle(const std::vector<pollfd>& ready);
  // SIGWINCH: the sandbox's terminal takes the person's size.
  void resize();
  // What the agent still had to say when it ended: nothing comes after it.
  void drain();
  // A line of ours, behind what the agent said. False where standard error is not that terminal:
  // it is for whoever asks. What nobody reads is dropped and counted.
  bool say(std::string_view ours);
  std::size_t unsaid() const noexcept { return unsaid_; }
  // Waits for who reads the terminal. False when one of `signals` (signalfd(2)) that ends programs
  // came meanwhile: the rest is lost.
  bool finish(int signals) { return output_.finish(signals); }

 private:
  void read_person();
  void hear_agent();
  bool read_agent();
  void write_agent();

  Fd master_;
  ErofsWatch& heard_;
  OwnLines& lines_;
  TerminalOutput output_;
  std::size_t unsaid_ = 0;
  bool reads_person_ = false;
  std::string to_agent_;
  std::optional<termios> saved_;
};

}  // namespace sluice::launcher
