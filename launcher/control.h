// What the supervisor and the sandbox's own pid 1 say to each other: one packet each, over a socket
// pair.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

struct ControlMessage {
  enum class Kind : std::uint8_t {
    // from the sandbox
    born,      // number: pid 1's pid as the supervisor sees it
    ready,     // fds, attached as: the listeners by netns::role_name(), "refused_udp" (a
               // netns::RefusedUdp), "denials" (/run/sluice/denials), "terminal" (a pty's master)
    notice,    // sentence: for the person
    exec_log,  // fds: "listener", of the agent's programs, and of an overlay "set_id", on which pid
               // 1
               // is told of its calls; without a listener, number: errno, says why
    failed,    // number: exit status; sentence and hint say why
    started,   // the agent's command runs
    ended,     // number: the agent's exit status, 128+n after signal n; sentence: tell_full()
    // from the supervisor
    go,      // the proxy knows the sockets: the agent may start
    signal,  // number: for the agent's process group
  };
  Kind kind = Kind::failed;
  int number = 0;
  std::string sentence;
  std::string hint;
  std::vector<Fd> fds;
};

// Descriptors by name: the names are the words of `sentence`.
void attach(ControlMessage& message, std::string_view name, Fd fd);
// Empty where there is none of that name.
Fd detach(ControlMessage& message, std::string_view name);

// Nothing when there is no message yet; `closed` is an error of kind unavailable.
Result<std::optional<ControlMessage>> receive_control(int socket);
Result<void> send_control(int socket, const ControlMessage& message);

ControlMessage failure_message(int status, const Error& error);

}  // namespace sluice::launcher
