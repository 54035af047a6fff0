// Carries bytes between the person's terminal and the sandbox's own, and puts the person's back in
// order.
#pragma once

#include <poll.h>
#include <termios.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/supervision/erofs_watch.h"
#include "launcher/supervision/own_lines.h"

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

  bool is_raw() const noexcept { return saved_.has_value(); }
  std::vector<pollfd> waits() const;
  void handle(const std::vector<pollfd>& ready);
  // SIGWINCH: the sandbox's terminal takes the person's size.
  void resize();
  // What the agent still had to say when it ended: nothing comes after it.
  void drain();

 private:
  void read_person();
  bool read_agent();
  void write_agent();

  Fd master_;
  ErofsWatch& heard_;
  OwnLines& lines_;
  int output_ = -1;  // the person's terminal, as one of descriptors 0-2
  bool reads_person_ = false;
  std::string to_agent_;
  std::optional<termios> saved_;
};

}  // namespace sluice::launcher
