// What the processes have in common that carry an agent's bytes to where nobody may read them: they
// wait there in the supervisor's place, and can do nothing else.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "launcher/sandbox/filter_program.h"

namespace sluice::launcher {

// The system calls that are left to them (seccomp(2)): their rights are their caller's.
Result<FilterProgram> carrier_filter();

struct Carrier {
  Fd socket;  // to it
  pid_t pid = -1;
};
// Starts a process of that name, which ends with this one and calls `carry` with its end of a
// socketpair(2) of `type`. Of its other descriptors `kept` stay.
Result<Carrier> start_carrier(const char* name, int type, std::vector<int> kept,
                              const std::function<void(Fd socket)>& carry);

// Writes all, and waits for who reads it. False when nobody does any more.
bool pass_on(int fd, std::string_view bytes) noexcept;
// Something can be written within so many milliseconds.
bool can_be_passed_on(int fd, int timeout_ms) noexcept;

}  // namespace sluice::launcher
