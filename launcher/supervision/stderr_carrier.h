// The process that carries what an agent says on its standard error to the caller's, sluice's own
// lines between, and hears it. It can do nothing else.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/filter_program.h"
#include "launcher/supervision/erofs_watch.h"

namespace sluice::launcher {

// Its first word, to the supervisor; or why it cannot.
inline constexpr std::string_view is_carrying = "c";
// What the supervisor sends it is a line of its own, or this: carry what is left, give your
// account, and end.
inline constexpr std::string_view finish_carrying = "f";
inline constexpr std::size_t longest_carried_line = 16384;

struct CarrierAccount {
  bool is_mid_line = false;  // the last line that was carried has no end
  ErofsWatch heard;

  static constexpr std::size_t longest = ErofsWatch::longest_account + 1;
  std::string encode() const;
  static CarrierAccount decode(std::string_view encoded);
};

// Writes to the caller's standard error, and waits for who reads that. False when nobody does any
// more.
bool pass_on(std::string_view bytes) noexcept;
// Within so many milliseconds.
bool can_be_passed_on(int timeout_ms) noexcept;

// The system calls that are left to it (seccomp(2)): it reads what an agent wrote, with the rights
// of its caller.
Result<FilterProgram> carrier_filter();

// In a child of fork(2), which never returns. `source` is the agent's pipe (O_NONBLOCK),
// `supervisor` a SOCK_SEQPACKET socket. It ends with its parent, `parent`.
[[noreturn]] void carry_stderr(Fd source, Fd supervisor, pid_t parent) noexcept;

}  // namespace sluice::launcher
