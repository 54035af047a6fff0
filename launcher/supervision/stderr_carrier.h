// The process that carries what an agent says on its standard error to the caller's, sluice's own
// lines between, and hears it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "launcher/supervision/erofs_watch.h"

namespace sluice::launcher {

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

// In the carrier: never returns. `source` is the agent's pipe (O_NONBLOCK), `supervisor` a
// SOCK_SEQPACKET socket.
[[noreturn]] void carry_stderr(Fd source, Fd supervisor) noexcept;

}  // namespace sluice::launcher
