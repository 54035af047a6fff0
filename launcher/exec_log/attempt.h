// What a process that waits at execve(2) is about to run.
#pragma once

#include <optional>

#include "launcher/exec_log/lookup.h"
#include "launcher/sandbox/notifications.h"
#include "netns/seen_exec.h"

namespace sluice::launcher {

// Bytes of a program's name and of a working directory that are told.
inline constexpr std::size_t most_path_bytes = 1024;

// Whether the call starts a program.
bool is_exec(int call);

// Nothing when the call will fail: there is no such file, or its arguments lie nowhere. `process`:
// a descriptor of the thread's process, -1 for none. What is read may be another process's unless
// Notifications::is_valid() afterwards.
std::optional<netns::SeenExec> look_at(const Notification& notification, const AgentRoot& root,
                                       int process = -1);

}  // namespace sluice::launcher
