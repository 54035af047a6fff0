// Hears what an agent's programs say on a standard error that is no terminal, to tell at the end
// which paths they found read-only. What leads to a pipe or socket passes through a process of its
// own; a file is read when all is over.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "base/pipe.h"
#include "launcher/sandbox/enter.h"
#include "launcher/supervision/erofs_watch.h"

namespace sluice::launcher {

class StderrWatch {
 public:
  // A file's last so many bytes of what a run wrote are read.
  static constexpr std::size_t longest_look = std::size_t{1024} * 1024;

  // By what descriptors 0-2 are: one that is also the standard input (inetd's socket), or that can
  // be neither passed on nor read back, is left alone. `owner` may open what it has by its path
  // (/dev/stderr); nobody: the caller.
  Result<AgentsStderr> open(std::optional<uid_t> owner);

  // What the agent says there is heard.
  bool hears() const noexcept { return hears_; }
  // The agent's processes are gone: waits until the rest is passed on, and for who reads it as they
  // would have. Nothing else is called behind it but hears() and heard().
  void finish();

  const ErofsWatch& heard() const noexcept { return heard_; }

 private:
  // A pipe's mutex is held by whoever splices into it from what has nothing to give (splice(2), a
  // socket, a terminal), and every call but poll(2) waits for it, deaf to SIGKILL. So none who has
  // to end the agent touches its pipe.
  Result<void> start_relay();
  [[noreturn]] void relay(Fd supervisor) noexcept;
  // Its descriptor is -1 where there is nothing to wait for. As the agent waited for its reader it
  // still does: what was not passed on is not read.
  pollfd wait() const noexcept;
  void handle(short revents);
  void pass_on_rest(int supervisor);
  void take_account();
  bool hear();
  ssize_t copy() noexcept;
  int unread() const noexcept;
  bool pass_on() noexcept;
  void hang_up() noexcept;
  void read_file();

  bool hears_ = false;
  Fd relay_;  // to that process; in it what follows is
  Fd source_;
  bool is_socket_ = false;
  Pipe copies_;                    // of what is still in that: tee(2)
  std::array<char, 65536> chunk_;  // what was heard last
  std::size_t heard_size_ = 0;
  std::size_t waiting_ = 0;  // of it, what was not yet passed on
  Fd file_;
  off_t before_ = 0;  // what was in it when the run began
  ErofsWatch heard_;
};

}  // namespace sluice::launcher
