// A pipe whose ends own themselves.
#pragma once

#include "base/error.h"
#include "base/fd.h"

namespace sluice {

struct Pipe {
  Fd read_end;
  Fd write_end;
};

// Both ends are closed by exec (pipe2(2), O_CLOEXEC).
Result<Pipe> make_pipe();

}  // namespace sluice
