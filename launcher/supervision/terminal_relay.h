// Carries bytes between the person's terminal and the sandbox's own, and puts the person's back in
// order. Never waits for the person's while the agent lives: a connection that is dead takes
// nothing.
#pragma once

#include <poll.h>
#include <termios.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/supervision/carrier.h"
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
  // Before anything else.
  Result<void> start();

  bool is_raw() const noexcept { return saved_.has_value(); }
  std::vector<pollfd> waits() const;
  void handle(const std::vector<pollfd>& ready);
  // SIGWINCH: the sandbox's terminal takes the person's size.
  void resize();
  // Says a line of sluice's own, behind what came until now. False where descriptor 2 is another
  // file. What the terminal has no room for is dropped and counted.
  bool say(std::string_view line);
  std::size_t unsaid() const noexcept { return unsaid_; }
  // What the agent still had to say when it ended: nothing comes after it.
  void drain();
  // Waits until the person's terminal has taken the rest. False when one of `signals` (signalfd(2))
  // that ends programs came meanwhile: the rest is lost.
  bool finish(int signals);

 private:
  void read_person();
  bool read_agent();
  void write_agent();
  bool write_person();
  bool wait_for_person(int signals);

  Fd master_;
  ErofsWatch& heard_;
  OwnLines& lines_;
  int output_ = -1;  // the person's terminal, as one of descriptors 0-2
  // To the process that writes there, for it may have to wait: O_NONBLOCK on the person's own
  // descriptor would be their shell's as well, and not everybody may open it again (su(1)).
  Carrier carrier_;
  std::string to_person_;
  std::size_t unsaid_ = 0;
  bool reads_person_ = false;
  std::string to_agent_;
  std::optional<termios> saved_;
};

}  // namespace sluice::launcher
