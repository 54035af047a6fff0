#include "base/pipe.h"

#include <fcntl.h>
#include <unistd.h>

namespace sluice {

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::unavailable, "pipe2");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace sluice
