// What a run tells about itself, and how that is written on its socket and in its record.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::launcher {

struct RunStatus {
  enum class State : std::uint8_t {
    starting,
    running,
    ending,
    ended,   // of a detached run: `status` says how
    killed,  // of a detached run: sluice itself was, and nobody saw an end
  };
  State state = State::starting;
  std::string agent;
  pid_t pid = 0;           // the supervisor's; 0 when it has gone
  std::int64_t since = 0;  // ms since the epoch
  std::int64_t until = 0;  // the same, of one that has ended
  std::optional<int> status;
  std::string workspace;
  std::string policy;  // a path; "" for none or where a shared sluiced decides
  std::string shared;  // that sluiced's socket; "" for an embedded one
  bool is_detached = false;
  std::vector<std::string> command;
  bool is_command_cut = false;
};

const char* name_of(RunStatus::State state);

// Keeps the first 8 KiB of a command, so that a status fits into a socket's buffer.
void set_command(RunStatus& status, const std::vector<std::string>& command);

// One line of ASCII with a line feed; bytes that are not UTF-8 become U+FFFD.
std::string encode(const RunStatus& status);
Result<RunStatus> decode_status(std::string_view text);

std::int64_t now_ms();
// "2026-01-02T03:04:05Z"
std::string utc(std::int64_t ms);

}  // namespace sluice::launcher
