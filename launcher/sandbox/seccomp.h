// Which system calls an agent is refused: a deny list, compiled once and loaded just before exec.
#pragma once

#include "base/error.h"
#include "base/strong.h"
#include "launcher/sandbox/filter_program.h"

namespace sluice::launcher {

enum class FilterFor : std::uint8_t {
  agent,
  root_of_a_range,  // of an overlay, with ids of its own
  root_of_one_id,   // changes of owner and of ids answer 0 and are not made: there is no other id
};

// Every int argument is compared by its low 32 bits, as the kernel reads it: socket(40 + 2^32) is
// an AF_VSOCK socket. Numbers newer than libseccomp knows, the x32 numbers and foreign
// architectures (int 0x80) answer ENOSYS, so that libc's fallbacks work; what is denied answers
// EPERM, but unknown address families EAFNOSUPPORT. Setuid and setgid bits cannot be given to a
// file (systemd's RestrictSUIDSGID), device nodes cannot be made, and limits be set only for pid 0,
// the caller. The root of an overlay may chroot(2), and its changes of mode with set-id bits are
// held back for answer_set_id(). One process holds one listener (EBUSY): where an overlay's
// programs are logged, the same filter holds them back.
using HoldsBackExec = YesNo<struct HoldsBackExecTag>;
Result<FilterProgram> compile_filter(FilterFor whom = FilterFor::agent,
                                     HoldsBackExec exec = HoldsBackExec::no);

}  // namespace sluice::launcher
