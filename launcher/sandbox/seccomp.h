// Which system calls an agent is refused: a deny list, compiled once and loaded just before exec.
#pragma once

#include "base/error.h"
#include "launcher/sandbox/filter_program.h"

namespace sluice::launcher {

// Every int argument is compared by its low 32 bits, as the kernel reads it: socket(40 + 2^32) is
// an AF_VSOCK socket. Numbers newer than libseccomp knows, the x32 numbers and foreign
// architectures (int 0x80) answer ENOSYS, so that libc's fallbacks work; what is denied answers
// EPERM, but unknown address families EAFNOSUPPORT. Setuid and setgid bits cannot be given to a
// file (systemd's RestrictSUIDSGID), device nodes cannot be made, and limits be set only for pid 0,
// the caller.
Result<FilterProgram> compile_filter();

}  // namespace sluice::launcher
