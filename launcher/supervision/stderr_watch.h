// Hears what an agent's programs say on a standard error that is no terminal, to tell at the end
// which paths they found read-only. What leads to a pipe or socket passes through a process of its
// own; a file is read when all is over.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/enter.h"
#include "launcher/supervision/carrier.h"
#include "launcher/supervision/erofs_watch.h"

namespace sluice::launcher {

class StderrWatch {
 public:
  // A file's last so many bytes of what a run wrote are read.
  static constexpr std::size_t longest_look = std::size_t{1024} * 1024;

  // By what descriptors 0-2 are: one that is also the standard input (inetd's socket), or that can
  // be neither carried nor read back, is the agent's as it is. `owner` may open what it has by its
  // path (/dev/stderr); nobody: the caller.
  Result<AgentsStderr> open(std::optional<uid_t> owner);

  // What the agent says there is heard.
  bool hears() const noexcept { return hears_; }
  // Says a line of sluice's own there, between the agent's. False where nobody carries it (any
  // more): for a terminal, for what never makes anybody wait, and after finish(). What nobody reads
  // is dropped and counted, for the agent could have filled the pipe.
  bool say(std::string_view line) noexcept;
  std::size_t unsaid() const noexcept { return unsaid_; }
  // The agent's processes are gone: waits until the rest is passed on, and for who reads it as they
  // would have. False when one of `signals` (signalfd(2)) that ends programs came meanwhile: the
  // rest is lost. Behind it only what tells is called, and itself.
  bool finish(int signals);

  const ErofsWatch& heard() const noexcept { return heard_; }
  // After finish(): the last line there has no end.
  bool is_mid_line() const noexcept { return is_mid_line_; }

 private:
  // A pipe's mutex is held by whoever splices into it from what has nothing to give (splice(2), a
  // socket, a terminal), and every call but poll(2) waits for it, deaf to SIGKILL. So none who has
  // to end the agent touches its pipe.
  bool send(std::string_view word) noexcept;
  bool take_account(int signals);
  void read_file();

  bool hears_ = false;
  std::size_t unsaid_ = 0;
  bool is_whole_ = true;  // nothing that the agent said was given up
  bool is_mid_line_ = false;
  Carrier carrier_;
  Fd file_;
  off_t before_ = 0;  // what was in it when the run began
  ErofsWatch heard_;
};

}  // namespace sluice::launcher
