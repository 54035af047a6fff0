// Says which of an agent's own writable places are full: of bytes and of files the kernel says
// "No space left on device" alike.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "launcher/plan/plan.h"

namespace sluice::launcher {

// What statvfs(3) says, in bytes and in files.
struct Room {
  std::uint64_t bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t files = 0;
  std::uint64_t free_files = 0;
};

// Nothing where there is no such directory (any more).
std::optional<Room> room_of(const std::string& path);

// For the end of a run's last line, "; '/tmp' is full: 256 MiB (--tmpfs /tmp:SIZE allows more)" for
// each of them; "" for none. Asks for no others than what is capped. To be called where the agent's
// mounts are seen.
std::string tell_full(const Plan& plan,
                      const std::function<std::optional<Room>(const std::string&)>& look = room_of);

}  // namespace sluice::launcher
