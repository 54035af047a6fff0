// The person's terminal while `sluice top` has it: plain ANSI (ECMA-48), put back in order at every
// end that a process can see.
#pragma once

#include <signal.h>
#include <termios.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"
#include "launcher/top/frame.h"

namespace sluice::launcher {

using WithColour = YesNo<struct WithColourTag>;

// On standard output, which is a terminal; never with NO_COLOR (no-color.org) or a dumb terminal.
WithColour colour_of_stdout();

// What is written to show `lines` in place of the last ones; pure.
std::string drawn(const std::vector<FrameLine>& lines, WithColour colour);
// One line with its style's colour; pure.
std::string coloured(const FrameLine& line, WithColour colour);

class Screen {
 public:
  // On the alternate screen, with keys at once where standard input is a terminal, until the
  // destructor. Signals that end or stop the process are heard by wait() alone.
  static Result<Screen> open();
  Screen(Screen&& other) noexcept;
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  Screen& operator=(Screen&&) = delete;
  ~Screen();

  // Without its last column: what stands there, some terminals erase with the rest of the screen.
  ScreenSize size() const;
  Result<void> show(const std::vector<FrameLine>& lines);

  struct Wake {
    char key = 0;    // 0: none
    int signal = 0;  // one that ends the process; else 0
  };
  // Until a key, a signal, a new size, or `until`. Stops and goes on with the shell (SIGTSTP).
  Wake wait(std::chrono::steady_clock::time_point until);

 private:
  Screen(Fd signals, sigset_t before) : signals_(std::move(signals)), before_(before) {}
  void enter();
  void leave() noexcept;
  int heard_signal();

  Fd signals_;
  sigset_t before_;
  std::optional<termios> saved_;
  bool is_there_ = false;
};

}  // namespace sluice::launcher
