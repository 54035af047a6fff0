// How probes ask the kernel: system calls that must be refused before their arguments are read.
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "launcher/probes/probe.h"

namespace sluice::launcher::probes {

// An address that nothing is mapped at (mmap_min_addr), and the upper half of a register, which the
// kernel does not look at where an argument is an int.
inline constexpr unsigned long nowhere = 8;
inline constexpr unsigned long high_bit = 1UL << 32;
inline constexpr unsigned long no_fd = static_cast<unsigned long>(-1);

struct Call {
  const char* name;
  long number;
  std::array<unsigned long, 6> arguments = {};
};

// Whether an errno says that a caller may not: EPERM, EACCES, ENOSYS, EROFS, and what socket(2)
// says of families and protocols that there are none of.
bool is_refusal(int error_number) noexcept;

// Makes the call; held when it is refused. Whoever answers that an argument is bad has let it in.
// The first one that is let in is the answer.
Answer refused(const Call& call);
Answer refused(std::initializer_list<Call> calls);

// What a call that was to be refused did, for Answer::what.
std::string let_in(std::string_view name, long result, int error_number);

// Held when none of the paths can be opened with `flags`. O_NONBLOCK and O_NOCTTY are added.
Answer cannot_open(std::initializer_list<std::string> paths, int flags);

}  // namespace sluice::launcher::probes
