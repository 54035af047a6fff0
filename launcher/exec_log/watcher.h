// The process that answers for every program that an agent starts, and tells of it.
#pragma once

#include <chrono>

#include "base/fd.h"

namespace sluice::launcher {

// What the watcher says last: its work is done, nobody is left who could start a program.
inline constexpr const char* watcher_end = "end";

// So long it waits for programs that nobody has reaped, when nobody is left to start any: only a
// stall is so long.
inline constexpr std::chrono::seconds last_ends{10};

// In a process forked for it, outside of the agent's namespaces and with the caller's identity: it
// reads the agents' memory by the right that this identity has over their user namespace. Answers
// each notification of `listener` at once and always with "go on", and sends what it saw over
// `out`, a SOCK_SEQPACKET socket, as messages of Outbox. Never waits for who reads them. Ends with
// its parent, or after `watcher_end`; where it ends otherwise, the kernel refuses the agent every
// further program (ENOSYS).
//
// Calls that are no exec are passed on over `set_id` (tell_of_call()) and not answered here; empty:
// there are none.
[[noreturn]] void be_watcher(Fd listener, Fd out, Fd set_id) noexcept;

}  // namespace sluice::launcher
